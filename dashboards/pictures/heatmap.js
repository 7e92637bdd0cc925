// A stand-in for Grafana's heat map panel, which npm does not carry: rows are buckets, columns times, colour is how many.
const STEPS = ['#fff5eb', '#fee6ce', '#fdd0a2', '#fdae6b', '#fd8d3c', '#f16913', '#d94801', '#a63603', '#7f2704'];
const unit = (seconds) => (seconds < 1e-3 ? `${+(seconds * 1e6).toPrecision(3)} µs` : seconds < 1 ? `${+(seconds * 1e3).toPrecision(3)} ms` : `${seconds} s`);

export function heatmap(canvas, frame, theme) {
  const draw = canvas.getContext('2d');
  const [time, ...rows] = frame.fields;
  const times = time.values;
  const bounds = rows.map(({ name }) => Number(name === '+Inf' ? Infinity : name));
  const counts = rows.map(({ values }) => times.map((_, column) => Number(values[column] ?? 0)));
  const most = Math.max(...counts.flat());
  const [left, bottom] = [130, 50];
  const width = (canvas.width - left) / times.length;
  const height = (canvas.height - bottom) / rows.length;
  draw.font = `22px ${theme.typography.fontFamily}`;
  bounds.forEach((bound, row) => {
    const top = canvas.height - bottom - (row + 1) * height;
    times.forEach((_, column) => {
      const count = counts[row][column];
      if (count > 0) {
        draw.fillStyle = STEPS[Math.min(STEPS.length - 1, Math.floor((count / most) * STEPS.length))];
        draw.fillRect(left + column * width, top, width - 1, height - 1);
      }
    });
    draw.fillStyle = theme.colors.text.secondary;
    draw.textAlign = 'right';
    if (row % 2 === 1 && Number.isFinite(bound)) {
      draw.fillText(unit(bound), left - 10, top + 8);
    }
  });
  draw.textAlign = 'center';
  for (let part = 0; part <= 4; part += 1) {
    const at = new Date(times[0] + ((times.at(-1) - times[0]) * part) / 4).toISOString().slice(11, 19);
    draw.fillText(at, left + 60 + ((canvas.width - left - 120) * part) / 4, canvas.height - 14);
  }
}
