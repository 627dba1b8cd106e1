// Stages and events over time, a row per kind, with what they say where somebody points.

const KINDS = {
  goal: 'goal', stage: 'stage', guard: 'guard', recorded_guard: 'guard, recorded', near: 'near collision', strange: 'strange input',
  gap: 'sensor gap', clock: 'clock',
};
const STAGE_COLOURS = {
  idle: 'axis', searching: 'e-strange', approaching: 'stack', following: 'wanted', moving: 'wanted', recovering: 'policy',
  succeeded: 'good', failed: 'target',
};
const ROW = 17;

class Timeline {
  constructor(canvas, data, onSeek) {
    this.canvas = canvas;
    this.range = data.range[1] > data.range[0] ? data.range : [data.range[0] - 0.5, data.range[0] + 0.5];
    this.cursor = data.range[0];
    this.rows = [];
    const known = [...new Set([...Object.keys(KINDS), ...data.events.map((event) => event[2])])];
    for (const kind of known) {
      const events = data.events.filter((event) => event[2] === kind && event[0] !== null);
      const spans = kind === 'stage' ? data.stages.map(([from, until, name]) => ({ from, until, text: name, stage: name })) : [];
      const ticks = events.map(([from, until, , text]) => ({ from, until: kind === 'stage' ? from : until, text }));
      if (spans.length + ticks.length) this.rows.push({ kind, name: KINDS[kind] || kind.replaceAll('_', ' '), spans, ticks });
    }
    this.canvas.style.height = `${ROW * this.rows.length + 26}px`;
    this.tip = document.querySelector('.tip');
    this.canvas.addEventListener('pointermove', (event) => {
      if (event.buttons & 1) onSeek(this.time(event.offsetX));
      this.hover(event);
    });
    this.canvas.addEventListener('pointerdown', (event) => onSeek(this.time(event.offsetX)));
    this.canvas.addEventListener('pointerleave', () => { this.tip.hidden = true; });
  }

  get left() { return this.canvas.clientWidth < 600 ? 84 : 104; }

  x(t, width) { return this.left + (width - this.left - MARGIN.right) * (t - this.range[0]) / (this.range[1] - this.range[0]); }

  time(x) {
    const share = (x - this.left) / (this.canvas.clientWidth - this.left - MARGIN.right);
    return this.range[0] + Math.max(0, Math.min(1, share)) * (this.range[1] - this.range[0]);
  }

  // What is under a pointer: an event within a few pixels before the stage beneath it.
  at(px, py) {
    const row = this.rows[Math.floor((py - 4) / ROW)];
    if (!row || px < this.left - 4) return null;
    const width = this.canvas.clientWidth, hit = (item) => px >= this.x(item.from, width) - 4 && px <= this.x(item.until, width) + 4;
    const found = row.ticks.filter(hit).concat(row.spans.filter(hit));
    return found.length ? { row, item: found[0], more: row.ticks.filter(hit).length - 1 } : null;
  }

  hover(event) {
    const found = this.at(event.offsetX, event.offsetY);
    this.tip.hidden = !found;
    if (!found) return;
    const { row, item, more } = found;
    const lasting = item.until > item.from ? ` to ${item.until.toFixed(1)} s` : ' s';
    this.tip.textContent = `${row.name}, ${item.from.toFixed(1)}${lasting}: ${item.text}${more > 0 ? ` (and ${more} more here)` : ''}`;
    const wide = document.documentElement.clientWidth;
    this.tip.style.left = `${Math.max(4, Math.min(event.pageX + 12, wide - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${event.pageY + 14}px`;
  }

  draw() {
    const { context, width, height } = sharp(this.canvas);
    context.font = FONT;
    timeTicks(context, this, width, ROW * this.rows.length + 8, 4, ROW * this.rows.length + 4);
    if (this.shown) {
      context.fillStyle = palette.grid;
      context.fillRect(this.x(this.shown[0], width), 0, this.x(this.shown[1], width) - this.x(this.shown[0], width), height - 18);
    }
    this.rows.forEach((row, k) => {
      const y = 4 + ROW * k;
      context.fillStyle = palette.soft;
      context.textAlign = 'left';
      context.textBaseline = 'middle';
      context.fillText(row.name, 0, y + ROW / 2, this.left - 6);
      for (const span of row.spans) {
        context.fillStyle = palette[STAGE_COLOURS[span.stage] || 'axis'];
        context.globalAlpha = 0.75;
        context.fillRect(this.x(span.from, width), y + 3, Math.max(1, this.x(span.until, width) - this.x(span.from, width)), ROW - 6);
        context.globalAlpha = 1;
        const room = this.x(span.until, width) - this.x(span.from, width);
        const fits = room > context.measureText(span.text).width + 14;
        if (fits) haloed(context, span.text, this.x(span.from, width) + 7, y + ROW / 2 + 0.5, palette.text);
      }
      context.fillStyle = palette['e-' + row.kind] || palette.axis;
      for (const tick of row.ticks) {
        const x = this.x(tick.from, width), wide = Math.max(2, this.x(tick.until, width) - x);
        if (row.kind !== 'stage') context.fillRect(x, y + 3, wide, ROW - 6);
        else context.fillRect(x, y + 1, 1.5, ROW - 2);
      }
    });
    const x = Math.round(this.x(this.cursor, width)) + 0.5;
    context.strokeStyle = palette.cursor;
    context.lineWidth = 1.5;
    context.beginPath(); context.moveTo(x, 0); context.lineTo(x, height - 18); context.stroke();
  }
}
