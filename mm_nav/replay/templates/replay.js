// Puts a recording's section together: film strip, timeline and charts on one clock.

class Recording {
  constructor(section) {
    this.section = section;
    this.data = JSON.parse(section.querySelector('script.data').textContent);
    const { data } = this;
    this.times = data.film.map((frame) => frame.t);
    this.index = 0;
    const seek = (time) => this.seek(time);
    this.charts = data.plots.filter((plot) => plot.series.length)
      .map((plot) => new Chart(section.querySelector(`[data-plot="${plot.key}"]`), plot, data.range, seek));
    if (data.histogram) this.labelHistogram();
    if (data.film.length) this.player(seek);
    for (const button of section.querySelectorAll('[data-seek]')) {
      button.addEventListener('click', () => {
        this.seek(Number(button.dataset.seek));
        (section.querySelector('.player') || section).scrollIntoView({ behavior: 'smooth', block: 'start' });
      });
    }
    this.draw();
    this.set(0);
    section.dataset.ready = 'true';
  }

  player(seek) {
    const find = (query) => this.section.querySelector(query);
    this.slider = find('.scrubber');
    this.playButton = find('.play');
    const picture = find('canvas.picture');
    this.picture = picture && new PictureView(picture, this.data.film);
    this.map = new MapView(find('canvas.map'), find('.layers'), this.data);
    this.timeline = new Timeline(find('canvas.timeline'), this.data, seek);
    this.span = find('.span');
    if (this.span) this.span.addEventListener('change', () => { this.view(this.times[this.index], true); });
    this.slider.addEventListener('input', () => { this.stop(); this.set(Number(this.slider.value)); });
    this.playButton.addEventListener('click', () => this.toggle());
    for (const button of this.section.querySelectorAll('[data-toggle]')) {
      button.addEventListener('click', () => {
        const on = button.getAttribute('aria-pressed') !== 'true';
        button.setAttribute('aria-pressed', on);
        this.picture.show[button.dataset.toggle] = on;
        this.picture.draw();
      });
    }
    this.section.addEventListener('pointerdown', () => { Recording.current = this; });
    this.section.addEventListener('focusin', () => { Recording.current = this; });
  }

  labelHistogram() {
    const panel = this.section.querySelector('[data-plot="histogram"]'), spec = this.data.histogram;
    const texts = [`median ${figure(spec.p50)} ms`, `p99 ${figure(spec.p99)} ms (dashed)`, `greatest ${figure(spec.max)} ms`];
    if (spec.above) texts.push(`${spec.above} above ${figure(spec.top)} ms not drawn`);
    panel.querySelector('.legend').append(...texts.map((text) => element('li', { textContent: text })));
  }

  seek(time) {
    if (!this.times.length) return;
    this.stop();
    this.set(nearest(this.times, time));
  }

  set(index) {
    const frame = this.data.film[Math.max(0, Math.min(this.data.film.length - 1, index))];
    if (!frame) return;
    this.index = this.data.film.indexOf(frame);
    this.slider.value = this.index;
    this.slider.setAttribute('aria-valuetext', `${frame.t.toFixed(1)} seconds, ${frame.stage}`);
    this.section.dataset.frame = this.index;
    if (this.picture) this.picture.set(this.index);
    this.map.set(this.index);
    this.timeline.cursor = frame.t;
    this.timeline.draw();
    if (this.span) this.view(frame.t);
    for (const chart of this.charts) { chart.cursor = frame.t; chart.paint(); }
    this.read(frame);
  }

  // Has the plots show the stretch around a time, if they do not show it already; of its length says the choice of the reader.
  view(time, anew = false) {
    const [first, last] = this.data.range, length = Number(this.span.value), shown = this.shown || [first, last];
    if (!anew && time >= shown[0] && time <= shown[1]) return;
    const from = Math.max(first, Math.min(last - length, time - length / 2));
    this.shown = length ? [from, from + length] : [first, last];
    this.timeline.shown = length ? this.shown : null;
    this.timeline.draw();
    for (const chart of this.charts) { chart.range = this.shown; chart.draw(); }
  }

  read(frame) {
    const write = (name, text) => { this.section.querySelector(`[data-read="${name}"]`).textContent = text; };
    const percent = (value) => (value === null ? '–' : `${Math.round(100 * value)} %`);
    const twist = ([linear, angular]) => `${figure(linear)} m/s, ${figure(angular)} rad/s`;
    write('stage', frame.stage || '–');
    write('step', frame.step || '–');
    write('guard', frame.guard || 'lets it pass');
    write('target', `in view ${percent(frame.visible)}, belief ${percent(frame.confidence)}`);
    ['recorded', 'wanted', 'driven'].forEach((name, k) => write(name, twist(frame.twists[k])));
    this.section.querySelector('.clock').textContent = `${seconds(frame.t)} of ${seconds(this.data.range[1])}`;
    const size = this.section.querySelector('.size');
    if (size) size.textContent = frame.jpeg ? `${frame.size[0]} × ${frame.size[1]}` : '';
  }

  toggle() { if (this.playing) this.stop(); else this.play(); }

  play() {
    if (this.index >= this.times.length - 1) this.set(0);
    this.playing = true;
    this.playButton.textContent = '❚❚ pause';
    this.playButton.setAttribute('aria-label', 'Pause');
    let time = this.times[this.index], last = null;
    const tick = (now) => {
      if (!this.playing) return;
      if (last !== null) time += Number(this.section.querySelector('.rate').value) * Math.min(0.2, (now - last) / 1000);
      last = now;
      let next = this.index;
      while (next + 1 < this.times.length && this.times[next + 1] <= time) next++;
      if (next !== this.index) this.set(next);
      if (next >= this.times.length - 1) this.stop(); else requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.playButton.textContent = '▶ play';
    this.playButton.setAttribute('aria-label', 'Play');
  }

  // Everything anew: at first, and when size or colours have changed.
  draw() {
    for (const chart of this.charts) chart.draw();
    if (this.data.histogram) drawHistogram(this.section.querySelector('[data-plot="histogram"]'), this.data.histogram);
    if (!this.timeline) return;
    this.timeline.draw();
    this.map.draw();
    if (this.picture) this.picture.draw();
  }
}

function onKey(event) {
  const player = Recording.current;
  const tag = event.target.tagName;
  if (!player || !player.slider || event.ctrlKey || event.altKey || event.metaKey || tag === 'SELECT' || tag === 'SUMMARY') return;
  const moves = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
  const inPlayer = event.target.closest && event.target.closest('.player');
  if (event.key === ' ' && tag !== 'BUTTON' && tag !== 'A') player.toggle();
  else if (event.key in moves && (inPlayer || !event.key.startsWith('Page'))) { player.stop(); player.set(player.index + moves[event.key]); }
  else if (inPlayer && event.key === 'Home') player.set(0);
  else if (inPlayer && event.key === 'End') player.set(player.times.length - 1);
  else return;
  event.preventDefault();
}

readPalette();
const recordings = [...document.querySelectorAll('.recording')].map((section) => new Recording(section));
Recording.current = recordings[0];
document.addEventListener('keydown', onKey);
function again() { readPalette(); for (const recording of recordings) recording.draw(); }
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
let waiting = 0;
window.addEventListener('resize', () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(again); });
document.documentElement.dataset.ready = 'true';
