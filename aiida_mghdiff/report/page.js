// Replaces the picture of a rotatable figure by the figure; if anything fails (for example without WebGL), the picture stays.
async function unpack(base64) {
  const bytes = Uint8Array.from(atob(base64), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Response(stream).text();
}
async function turn(figure) {
  const [place, hint, picture] = ['.turnable', '.turn', '.scroll'].map(name => figure.querySelector(name));
  const script = document.createElement('script');
  script.textContent = await unpack(figure.querySelector('.library').textContent.trim());
  document.head.append(script);
  const {data, layout} = JSON.parse(figure.querySelector('.figure').textContent);
  place.hidden = false;
  try {
    await Plotly.newPlot(place, data, layout, {responsive: true, displaylogo: false});
    hint.hidden = false;
    picture.classList.add('print-only');
  } catch (error) {
    place.hidden = true;
    throw error;
  }
}
document.querySelectorAll('figure:has(.turnable)').forEach(figure => turn(figure).catch(console.warn));
