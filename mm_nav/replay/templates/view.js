// The camera's picture with the policy's waypoints and where it looked.

const NOWHERE = -32768;

function bytesOf(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }

// Pairs of int16 as [[x, y], ...]; null where one is unknown.
function pairs(text) {
  const bytes = bytesOf(text), view = new DataView(bytes.buffer), found = [];
  for (let i = 0; i + 3 < bytes.length; i += 4) {
    const x = view.getInt16(i, true), y = view.getInt16(i + 2, true);
    found.push(x === NOWHERE || y === NOWHERE ? null : [x, y]);
  }
  return found;
}

class PictureView {
  constructor(canvas, frames) {
    this.canvas = canvas;
    this.frames = frames;
    this.images = new Map();
    this.show = { waypoints: true, heat: false };
    this.index = 0;
  }

  // The picture of a frame; it and the next few are kept, so that playing does not flicker.
  image(index) {
    const frame = this.frames[index];
    if (!frame || !frame.jpeg) return null;
    let image = this.images.get(index);
    if (!image) {
      image = new Image();
      image.onload = () => { if (this.index === index) this.draw(); };
      image.src = frame.jpeg;
      this.images.set(index, image);
      if (this.images.size > 40) this.images.delete(this.images.keys().next().value);
    }
    return image;
  }

  set(index) {
    this.index = index;
    for (let k = 1; k <= 3; k++) this.image(index + k);
    this.draw();
  }

  draw() {
    const frame = this.frames[this.index], image = this.image(this.index);
    if (image && !image.complete) return;
    const { context, width, height } = sharp(this.canvas);
    context.font = FONT;
    if (!image || !image.naturalWidth) {
      context.fillStyle = palette.soft;
      context.textAlign = 'center';
      context.fillText(image ? 'this picture cannot be shown' : 'no picture at this time', width / 2, height / 2);
      this.canvas.dataset.frame = this.index;
      return;
    }
    // The boxes of frame.size are what waypoints and heat map refer to; the picture may be stored smaller.
    const [w, h] = frame.size, scale = Math.min(width / w, height / h), left = (width - scale * w) / 2, top = (height - scale * h) / 2;
    context.save();
    context.translate(left, top);
    context.drawImage(image, 0, 0, scale * w, scale * h);
    context.beginPath(); context.rect(0, 0, scale * w, scale * h); context.clip();
    if (this.show.heat && frame.heat) this.heat(context, frame.heat, scale * w, scale * h);
    if (this.show.waypoints && frame.waypoints) this.waypoints(context, frame, scale);
    context.restore();
    this.canvas.dataset.frame = this.index;
  }

  heat(context, heat, width, height) {
    const [rows, columns] = heat.shape, values = bytesOf(heat.data);
    const small = document.createElement('canvas');
    small.width = columns;
    small.height = rows;
    const inner = small.getContext('2d'), pixels = inner.createImageData(columns, rows);
    values.forEach((value, i) => {
      const v = value / 255;
      // Dark violet to orange to pale yellow: rises in brightness, so that it reads in grey, too.
      pixels.data.set([Math.min(255, 90 + 320 * v), 20 + 225 * v * v, 110 - 60 * v, 215 * Math.sqrt(v)], 4 * i);
    });
    inner.putImageData(pixels, 0, 0);
    context.globalAlpha = 0.75;
    context.drawImage(small, 0, 0, width, height);
    context.globalAlpha = 1;
  }

  waypoints(context, frame, scale) {
    const [count, length] = frame.waypoints_shape, all = pairs(frame.waypoints);
    const order = frame.probs.map((p, k) => [p ?? 0, k]).sort((a, b) => a[0] - b[0]);
    context.lineCap = context.lineJoin = 'round';
    for (const [probability, k] of order) {
      if (k >= count) continue;
      const likely = k === order[order.length - 1][1];
      const line = all.slice(k * length, (k + 1) * length).filter(Boolean).map(([x, y]) => [scale * x, scale * y]);
      if (!line.length) continue;
      context.globalAlpha = 0.3 + 0.7 * Math.sqrt(probability);
      const thick = 1.5 + 5 * probability;
      for (const [colour, extra] of [['rgb(0 0 0 / 55%)', 2.5], [likely ? '#ffb000' : '#56c8ff', 0]]) {
        context.strokeStyle = context.fillStyle = colour;
        context.lineWidth = thick + extra;
        context.beginPath();
        line.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
        context.stroke();
        for (const [x, y] of line) { context.beginPath(); context.arc(x, y, thick / 2 + 1.2 + extra / 2, 0, 2 * Math.PI); context.fill(); }
      }
      const [x, y] = line[line.length - 1];
      context.globalAlpha = 1;
      context.font = '600 11px system-ui, sans-serif';
      context.textAlign = 'center';
      context.textBaseline = 'bottom';
      context.lineWidth = 3;
      context.strokeStyle = 'rgb(0 0 0 / 70%)';
      const text = `${Math.round(100 * probability)} %`;
      if (probability < 0.05) continue;
      context.strokeText(text, x, y - 6);
      context.fillStyle = '#ffffff';
      context.fillText(text, x, y - 6);
    }
    context.globalAlpha = 1;
  }
}
