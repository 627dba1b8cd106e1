// Charts over time on a canvas. Everything here takes its colours from the style sheet, so that dark and light both work.

// Names of dashes by role, so that lines are told apart without colour, too.
const DASHES = { wanted: [6, 4], baseline: [2, 3] };
const FONT = '11px system-ui, sans-serif';

let palette = {};
function readPalette() {
  const style = getComputedStyle(document.documentElement);
  palette = {};
  for (const name of ['page', 'panel', 'text', 'soft', 'edge', 'grid', 'axis', 'cursor', 'recorded', 'stack', 'wanted', 'policy', 'baseline',
    'target', 'good', 'bad', 'free', 'occupied', 'unknown', 'scan', 'e-goal', 'e-stage', 'e-guard', 'e-recorded_guard', 'e-near',
    'e-strange', 'e-gap', 'e-clock']) palette[name] = style.getPropertyValue('--' + name).trim();
}

// Makes the canvas as sharp as the screen; returns its 2D context in CSS pixels, with width and height.
function sharp(canvas) {
  const scale = window.devicePixelRatio || 1;
  const width = Math.max(1, canvas.clientWidth), height = Math.max(1, canvas.clientHeight);
  const w = Math.round(width * scale), h = Math.round(height * scale);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function niceStep(span, count) {
  const raw = span / Math.max(1, count), power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find((m) => m * power >= raw) || 10);
}

function ticks(low, high, count) {
  const step = niceStep(high - low || 1, count), found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return { step, values: found };
}

function decimals(step) { return Math.max(0, Math.min(4, -Math.floor(Math.log10(step) + 1e-9))); }

function figure(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return '–';
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2).replace(/^-(?=[0.]*$)/, '');
}

function seconds(value) {
  const minutes = Math.floor(value / 60);
  return minutes ? `${minutes}:${(value - 60 * minutes).toFixed(1).padStart(4, '0')} min` : `${value.toFixed(1)} s`;
}

// The index of the entry of a sorted array that is nearest to a value.
function nearest(sorted, value) {
  let low = 0, high = sorted.length - 1;
  if (high < 0) return -1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1; else high = middle;
  }
  return low > 0 && value - sorted[low - 1] <= sorted[low] - value ? low - 1 : low;
}

function element(name, properties, ...children) {
  const made = document.createElement(name);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

function swatch(role) {
  const made = element('span', { className: 'swatch' + (role === 'wanted' ? ' dashed' : role === 'baseline' ? ' dotted' : '') });
  made.style.color = `var(--${role})`;
  return made;
}

// The place of plots in their canvas, CSS pixels; the same for all over time, so that they line up.
const MARGIN = { left: 44, right: 10, top: 8, bottom: 20 };

// One chart. spec: unit, line, line_text, series of {name, role, t, y}. range: [from, to]. onSeek(time) where somebody points.
class Chart {
  constructor(panel, spec, range, onSeek) {
    this.canvas = panel.querySelector('canvas');
    this.spec = spec;
    this.range = range[1] > range[0] ? range : [range[0] - 0.5, range[0] + 0.5];
    this.cursor = null;
    this.pointed = null;
    this.values = spec.series.map((series) => {
      const value = element('output');
      panel.querySelector('.legend').append(element('li', {}, swatch(series.role), series.name + ' ', value));
      return value;
    });
    this.limits();
    const at = (event) => this.time(event.clientX - this.canvas.getBoundingClientRect().left);
    this.canvas.addEventListener('pointermove', (event) => {
      this.pointed = at(event);
      if (event.buttons & 1) onSeek(this.pointed);
      this.paint();
    });
    this.canvas.addEventListener('pointerdown', (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      onSeek(at(event));
    });
    this.canvas.addEventListener('pointerleave', () => { this.pointed = null; this.paint(); });
  }

  limits() {
    let low = Infinity, high = -Infinity;
    for (const series of this.spec.series) for (const y of series.y) if (y !== null) { low = Math.min(low, y); high = Math.max(high, y); }
    if (this.spec.line !== null && this.spec.line !== undefined) { low = Math.min(low, this.spec.line); high = Math.max(high, this.spec.line); }
    if (!(high >= low)) { low = 0; high = 1; }
    if (low > 0 && low < 0.6 * high) low = 0;
    if (this.spec.unit === 'probability') { low = 0; high = 1; }
    const room = 0.06 * (high - low) || 0.5;
    this.low = low === 0 ? 0 : low - room;
    // The text of a line above everything needs room.
    this.high = high + (high === this.spec.line ? 3 : 1) * room;
  }

  time(x) {
    const inner = this.canvas.clientWidth - MARGIN.left - MARGIN.right;
    const share = Math.max(0, Math.min(1, (x - MARGIN.left) / inner));
    return this.range[0] + share * (this.range[1] - this.range[0]);
  }

  x(t, width) { return MARGIN.left + (width - MARGIN.left - MARGIN.right) * (t - this.range[0]) / (this.range[1] - this.range[0]); }

  y(v, height) { return height - MARGIN.bottom - (height - MARGIN.top - MARGIN.bottom) * (v - this.low) / (this.high - this.low); }

  // Draws all but the cursor on a canvas of its own, which is laid under each cursor.
  draw() {
    const { width, height } = sharp(this.canvas);
    this.base = document.createElement('canvas');
    this.base.width = this.canvas.width;
    this.base.height = this.canvas.height;
    const context = this.base.getContext('2d');
    context.scale(this.canvas.width / width, this.canvas.height / height);
    context.font = FONT;
    this.axes(context, width, height);
    let points = 0;
    for (const series of this.spec.series) points += this.stroke(context, series, width, height);
    this.nameLine(context, width, height);
    this.canvas.dataset.drawnPoints = points;
    this.paint();
  }

  axes(context, width, height) {
    const { step, values } = ticks(this.low, this.high, Math.max(2, height / 36));
    context.lineWidth = 1;
    context.textBaseline = 'middle';
    context.textAlign = 'right';
    for (const value of values) {
      const y = Math.round(this.y(value, height)) + 0.5;
      context.strokeStyle = Math.abs(value) < 1e-9 ? palette.axis : palette.grid;
      context.beginPath(); context.moveTo(MARGIN.left, y); context.lineTo(width - MARGIN.right, y); context.stroke();
      context.fillStyle = palette.soft;
      context.fillText(value.toFixed(decimals(step)), MARGIN.left - 6, y);
    }
    timeTicks(context, this, width, height - MARGIN.bottom + 5, MARGIN.top, height - MARGIN.bottom);
    if (this.spec.line !== null && this.spec.line !== undefined) {
      const y = Math.round(this.y(this.spec.line, height)) + 0.5;
      context.strokeStyle = palette.bad;
      context.setLineDash([3, 3]);
      context.beginPath(); context.moveTo(MARGIN.left, y); context.lineTo(width - MARGIN.right, y); context.stroke();
      context.setLineDash([]);
    }
  }

  nameLine(context, width, height) {
    if (!this.spec.line_text) return;
    const y = this.y(this.spec.line, height);
    context.textAlign = 'right';
    context.textBaseline = y > MARGIN.top + 14 ? 'bottom' : 'top';
    haloed(context, this.spec.line_text, width - MARGIN.right - 2, y - 1, palette.bad);
  }

  // Draws one series; returns how many points. A point without neighbours is a dot.
  stroke(context, series, width, height) {
    let points = 0, open = false;
    context.save();
    context.beginPath(); context.rect(MARGIN.left - 1, 0, width - MARGIN.left - MARGIN.right + 2, height); context.clip();
    context.strokeStyle = context.fillStyle = palette[series.role];
    context.lineWidth = series.role === 'wanted' ? 1.3 : 1.7;
    context.lineJoin = 'round';
    context.setLineDash(DASHES[series.role] || []);
    context.beginPath();
    const dots = [];
    for (let i = 0; i < series.y.length; i++) {
      const value = series.y[i];
      if (value === null) { open = false; continue; }
      const x = this.x(series.t[i], width), y = this.y(value, height);
      const alone = !open && (i + 1 >= series.y.length || series.y[i + 1] === null);
      if (alone) dots.push([x, y]); else if (open) context.lineTo(x, y); else context.moveTo(x, y);
      open = true;
      points++;
    }
    context.stroke();
    context.setLineDash([]);
    for (const [x, y] of dots) { context.beginPath(); context.arc(x, y, 2.2, 0, 2 * Math.PI); context.fill(); }
    context.restore();
    return points;
  }

  // Lays the cursor over what is drawn, and writes the values there.
  paint() {
    if (!this.base) return;
    const { context, width, height } = sharp(this.canvas);
    context.drawImage(this.base, 0, 0, width, height);
    if (this.cursor !== null) this.rule(context, this.cursor, palette.cursor, width, height);
    if (this.pointed !== null) this.rule(context, this.pointed, palette.axis, width, height);
    const at = this.pointed ?? this.cursor;
    this.spec.series.forEach((series, k) => {
      const i = at === null ? -1 : nearest(series.t, at), value = i < 0 ? null : series.y[i];
      this.values[k].textContent = figure(value);
      if (value === null) return;
      context.fillStyle = palette[series.role];
      context.beginPath();
      context.arc(this.x(series.t[i], width), this.y(value, height), 3.2, 0, 2 * Math.PI);
      context.fill();
    });
    if (this.pointed !== null) {
      context.font = FONT;
      context.fillStyle = palette.soft;
      context.textBaseline = 'top';
      const x = this.x(this.pointed, width), left = x > width - 70;
      context.textAlign = left ? 'right' : 'left';
      context.fillText(`${this.pointed.toFixed(1)} s`, x + (left ? -5 : 5), MARGIN.top);
    }
  }

  rule(context, time, colour, width, height) {
    const x = Math.round(this.x(time, width)) + 0.5;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.beginPath(); context.moveTo(x, MARGIN.top); context.lineTo(x, height - MARGIN.bottom); context.stroke();
  }
}

// Writes a text that reads on whatever is under it.
function haloed(context, text, x, y, colour) {
  context.lineWidth = 4;
  context.lineJoin = 'round';
  context.strokeStyle = palette.panel;
  context.strokeText(text, x, y);
  context.fillStyle = colour;
  context.fillText(text, x, y);
}

function timeTicks(context, chart, width, textY, top, bottom) {
  const { step, values } = ticks(chart.range[0], chart.range[1], Math.max(2, width / 70));
  context.textBaseline = 'top';
  context.lineWidth = 1;
  for (const value of values) {
    const x = Math.round(chart.x(value, width)) + 0.5;
    context.strokeStyle = palette.grid;
    context.beginPath(); context.moveTo(x, top); context.lineTo(x, bottom); context.stroke();
    context.fillStyle = palette.soft;
    context.textAlign = x > width - 24 ? 'right' : 'center';
    context.fillText(`${value.toFixed(decimals(step))}${value === values[values.length - 1] ? ' s' : ''}`, x, textY);
  }
}

// Counts over values from 0 to top, with the median and the 99th percentile.
function drawHistogram(panel, spec) {
  const canvas = panel.querySelector('canvas'), { context, width, height } = sharp(canvas);
  const most = Math.max(1, ...spec.counts), inner = width - MARGIN.left - MARGIN.right, tall = height - MARGIN.top - MARGIN.bottom;
  context.font = FONT;
  const vertical = ticks(0, most, Math.max(2, height / 36)), horizontal = ticks(0, spec.top, Math.max(2, width / 70));
  context.textAlign = 'right';
  context.textBaseline = 'middle';
  for (const value of vertical.values.filter((v) => Number.isInteger(v))) {
    const y = Math.round(height - MARGIN.bottom - tall * value / most) + 0.5;
    context.strokeStyle = palette.grid;
    context.beginPath(); context.moveTo(MARGIN.left, y); context.lineTo(width - MARGIN.right, y); context.stroke();
    context.fillStyle = palette.soft;
    context.fillText(value, MARGIN.left - 6, y);
  }
  context.textAlign = 'center';
  context.textBaseline = 'top';
  for (const value of horizontal.values) {
    context.fillText(`${value.toFixed(decimals(horizontal.step))}`, MARGIN.left + inner * value / spec.top, height - MARGIN.bottom + 5);
  }
  context.fillStyle = palette.stack;
  const bar = inner / spec.counts.length;
  spec.counts.forEach((count, k) => {
    const tallness = tall * count / most;
    context.fillRect(MARGIN.left + k * bar, height - MARGIN.bottom - tallness, Math.max(1, bar - 1), tallness);
  });
  for (const name of ['p50', 'p99']) {
    const x = Math.round(MARGIN.left + inner * Math.min(1, spec[name] / spec.top)) + 0.5;
    context.strokeStyle = palette.cursor;
    context.setLineDash(name === 'p50' ? [] : [4, 3]);
    context.beginPath(); context.moveTo(x, MARGIN.top); context.lineTo(x, height - MARGIN.bottom); context.stroke();
    context.setLineDash([]);
  }
  canvas.dataset.drawnPoints = spec.counts.length;
}
