// The map around the robot: what is known, scanned, driven, planned and foreseen, in the odom frame.

const LAYERS = [
  ['path', 'recorded', 'recorded'], ['foreseen', 'stack', 'stack'], ['plan', 'plan', 'baseline'], ['scan', 'scan', 'scan'],
  ['target', 'target', 'target'],
];

class MapView {
  constructor(canvas, buttons, data) {
    this.canvas = canvas;
    this.data = data;
    this.index = 0;
    this.show = Object.fromEntries(LAYERS.map(([key]) => [key, true]));
    this.follow = false;
    this.whole();
    for (const [key, name, role] of LAYERS) {
      if (!this.has(key)) continue;
      const button = element('button', { type: 'button' }, swatch(role), name);
      button.setAttribute('aria-pressed', 'true');
      button.addEventListener('click', () => {
        this.show[key] = !this.show[key];
        button.setAttribute('aria-pressed', this.show[key]);
        this.draw();
      });
      buttons.append(button);
    }
    const button = (text, label, act) => {
      const made = element('button', { type: 'button', title: label, onclick: () => { act(); this.draw(); } }, text);
      made.setAttribute('aria-label', label);
      buttons.append(made);
      return made;
    };
    const followed = button('follow', 'Follow the robot', () => {
      this.follow = !this.follow;
      if (this.follow) this.zoom = Math.max(this.zoom, this.fitZoom(), 45); else this.whole();
      followed.setAttribute('aria-pressed', this.follow);
    });
    followed.classList.add('push');
    followed.setAttribute('aria-pressed', 'false');
    button('−', 'Zoom out', () => { this.scale(1 / 1.4); });
    button('+', 'Zoom in', () => { this.scale(1.4); });
    button('fit', 'Show the whole map', () => { this.follow = false; followed.setAttribute('aria-pressed', 'false'); this.whole(); });
    this.listen();
  }

  has(key) {
    if (key === 'path') return this.data.path.x.length > 0;
    return this.data.film.some((frame) => (key === 'target' ? frame.target : frame[key]));
  }

  listen() {
    let last = null;
    this.canvas.addEventListener('pointerdown', (event) => {
      last = [event.clientX, event.clientY];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener('pointermove', (event) => {
      if (!last || !(event.buttons & 1)) return;
      const zoom = this.zoom || this.fitZoom();
      this.zoom = zoom;
      this.offset[0] -= (event.clientX - last[0]) / zoom;
      this.offset[1] += (event.clientY - last[1]) / zoom;
      last = [event.clientX, event.clientY];
      this.draw();
    });
    this.canvas.addEventListener('pointerup', () => { last = null; });
    this.canvas.addEventListener('wheel', (event) => {
      if (!event.ctrlKey && document.activeElement !== this.canvas) return; // a page that is scrolled does not zoom maps
      event.preventDefault();
      this.scale(event.deltaY < 0 ? 1.15 : 1 / 1.15);
      this.draw();
    }, { passive: false });
    this.canvas.addEventListener('keydown', (event) => {
      if (event.key !== '+' && event.key !== '-') return;
      this.scale(event.key === '+' ? 1.4 : 1 / 1.4);
      this.draw();
    });
  }

  whole() {
    const { path, map, film } = this.data;
    const xs = [...path.x], ys = [...path.y];
    for (const frame of film) {
      xs.push(frame.pose[0]); ys.push(frame.pose[1]);
      if (frame.target) { xs.push(frame.target[0]); ys.push(frame.target[1]); }
    }
    if (map) {
      xs.push(map.origin[0], map.origin[0] + map.size[0] * map.resolution);
      ys.push(map.origin[1], map.origin[1] + map.size[1] * map.resolution);
    }
    const low = [Math.min(...xs), Math.min(...ys)], high = [Math.max(...xs), Math.max(...ys)];
    this.middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
    this.extent = [Math.max(2, high[0] - low[0]), Math.max(2, high[1] - low[1])];
    this.offset = [0, 0];
    this.zoom = 0; // fits
  }

  fitZoom() {
    return 0.94 * Math.min(this.canvas.clientWidth / this.extent[0], this.canvas.clientHeight / this.extent[1]);
  }

  scale(factor) { this.zoom = Math.max(2, Math.min(400, (this.zoom || this.fitZoom()) * factor)); }

  set(index) { this.index = index; this.draw(); }

  // The grid as a picture in the page's colours; made anew when they change.
  ground() {
    const { map } = this.data;
    if (!map || this.grey === undefined) {
      if (map) {
        this.grey = null;
        const image = new Image();
        image.onload = () => { this.grey = image; this.coloured = null; this.draw(); };
        image.src = map.png;
      }
      return null;
    }
    if (!this.grey) return null;
    if (this.coloured && this.colouredFor === palette.free) return this.coloured;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = map.size;
    const context = canvas.getContext('2d');
    context.drawImage(this.grey, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
    const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
    const colours = [rgb(palette.unknown), rgb(palette.free), rgb(palette.occupied)];
    for (let i = 0; i < pixels.data.length; i += 4) pixels.data.set(colours[pixels.data[i] > 200 ? 2 : pixels.data[i] > 60 ? 1 : 0], i);
    context.putImageData(pixels, 0, 0);
    this.coloured = canvas;
    this.colouredFor = palette.free;
    return canvas;
  }

  draw() {
    const frame = this.data.film[this.index], { context, width, height } = sharp(this.canvas);
    const zoom = this.zoom || this.fitZoom();
    const centre = this.follow && frame ? frame.pose : this.middle;
    const cx = centre[0] + this.offset[0], cy = centre[1] + this.offset[1];
    const to = ([x, y]) => [width / 2 + zoom * (x - cx), height / 2 - zoom * (y - cy)];
    this.drawGround(context, to, zoom);
    if (!frame) return;
    const around = (text) => pairs(text).filter(Boolean).map(([x, y]) => to([frame.pose[0] + x / 100, frame.pose[1] + y / 100]));
    if (this.show.path) this.drawPath(context, to, frame.t);
    if (this.show.scan) {
      context.fillStyle = palette.scan;
      const size = Math.max(1.6, Math.min(3, zoom / 25));
      for (const [x, y] of around(frame.scan)) context.fillRect(x - size / 2, y - size / 2, size, size);
    }
    if (this.show.plan) line(context, around(frame.plan), palette.baseline, 2, [2, 4]);
    if (this.show.foreseen) {
      const way = around(frame.foreseen);
      line(context, [to(frame.pose), ...way], palette.stack, 3, []);
      context.fillStyle = palette.stack;
      // A dot a second: the places are a quarter of a second apart.
      way.forEach(([x, y], i) => { if (i % 4 === 3) { context.beginPath(); context.arc(x, y, 3.4, 0, 2 * Math.PI); context.fill(); } });
    }
    if (this.show.target && frame.target) this.drawTarget(context, to(frame.target), frame.confidence);
    this.drawRobot(context, to, frame.pose, zoom);
    this.drawScale(context, width, height, zoom);
    this.canvas.dataset.frame = this.index;
  }

  drawGround(context, to, zoom) {
    const ground = this.ground(), { map } = this.data;
    if (!ground) return;
    const [x, y] = to([map.origin[0], map.origin[1] + map.size[1] * map.resolution]);
    context.imageSmoothingEnabled = zoom * map.resolution < 1;
    context.drawImage(ground, x, y, zoom * map.size[0] * map.resolution, zoom * map.size[1] * map.resolution);
  }

  drawPath(context, to, time) {
    const { path } = this.data, points = path.x.map((x, i) => to([x, path.y[i]]));
    const now = path.t.findIndex((t) => t > time);
    context.globalAlpha = 0.3;
    line(context, points, palette.recorded, 1.5, []);
    context.globalAlpha = 1;
    line(context, now < 0 ? points : points.slice(0, now), palette.recorded, 2.2, []);
  }

  drawTarget(context, [x, y], confidence) {
    context.strokeStyle = context.fillStyle = palette.target;
    context.lineWidth = 2.5;
    context.globalAlpha = 0.4 + 0.6 * (confidence ?? 0);
    context.beginPath(); context.arc(x, y, 8, 0, 2 * Math.PI); context.stroke();
    context.beginPath(); context.moveTo(x - 12, y); context.lineTo(x + 12, y); context.moveTo(x, y - 12); context.lineTo(x, y + 12); context.stroke();
    context.globalAlpha = 1;
    context.font = '600 12px system-ui, sans-serif';
    context.textAlign = 'left';
    context.textBaseline = 'bottom';
    if (confidence !== null) haloed(context, `${Math.round(100 * confidence)} %`, x + 11, y - 5, palette.target);
  }

  drawRobot(context, to, [px, py, yaw], zoom) {
    const c = Math.cos(yaw), s = Math.sin(yaw), corners = this.data.footprint.map(([x, y]) => to([px + c * x - s * y, py + s * x + c * y]));
    // A robot of a few pixels is drawn as large as can be seen.
    const middle = to([px, py]), size = Math.max(...corners.map(([x, y]) => Math.hypot(x - middle[0], y - middle[1])), 0.1);
    const grow = Math.max(1, 9 / size);
    context.beginPath();
    corners.forEach(([x, y], i) => {
      const at = [middle[0] + grow * (x - middle[0]), middle[1] + grow * (y - middle[1])];
      if (i) context.lineTo(...at); else context.moveTo(...at);
    });
    context.closePath();
    context.fillStyle = palette.panel;
    context.strokeStyle = palette.text;
    context.lineWidth = 2;
    context.fill();
    context.stroke();
    const tip = Math.max(0.28 * zoom, 14);
    line(context, [middle, [middle[0] + tip * c, middle[1] - tip * s]], palette.text, 2, []);
  }

  drawScale(context, width, height, zoom) {
    const step = niceStep(width / zoom, 6), long = step * zoom;
    context.fillStyle = context.strokeStyle = palette.text;
    context.lineWidth = 2;
    context.beginPath(); context.moveTo(12, height - 14); context.lineTo(12 + long, height - 14); context.stroke();
    context.font = FONT;
    context.textAlign = 'left';
    context.textBaseline = 'bottom';
    context.fillText(`${step >= 1 ? step : step.toFixed(2)} m`, 12, height - 18);
  }
}

function line(context, points, colour, width, dash) {
  if (points.length < 2) return;
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineJoin = context.lineCap = 'round';
  context.setLineDash(dash);
  context.beginPath();
  points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.stroke();
  context.setLineDash([]);
}
