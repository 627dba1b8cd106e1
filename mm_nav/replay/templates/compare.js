// A comparison's page: both replays' windows over time, one chart a measure, one pointer for all.

readPalette();
const { plots } = JSON.parse(document.getElementById('data').textContent);
const charts = [];
for (const panel of document.querySelectorAll('[data-plot]')) {
  const plot = plots.find((one) => one.key === panel.dataset.plot);
  if (!plot) {
    panel.querySelector('canvas').remove();
    panel.querySelector('.empty').hidden = false;
    continue;
  }
  charts.push(new Chart(panel, plot, [0, plot.end], (time) => {
    for (const chart of charts) { chart.cursor = time; chart.paint(); }
  }));
}
function drawAll() { readPalette(); for (const chart of charts) chart.draw(); }
drawAll();
window.matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
let waiting = 0;
window.addEventListener('resize', () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawAll); });
document.documentElement.dataset.ready = 'true';
