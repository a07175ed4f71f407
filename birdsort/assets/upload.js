function render({ model, el }) {
  const zone = document.createElement('label'),
    input = document.createElement('input'),
    ask = document.createElement('span'),
    tell = document.createElement('small');
  zone.className = 'birdsort-drop';
  ask.innerHTML = 'Drop images here, or <u>choose them</u>';
  input.type = 'file';
  input.accept = 'image/*';
  input.multiple = true;
  tell.setAttribute('role', 'status');
  zone.append(ask, input, tell);
  el.append(zone);
  const waiting = [];
  let sent = 0;
  // One file after the other: the next one when the last one has its label
  async function next() {
    const file = waiting[0];
    tell.textContent = file ? `${file.name}: ${sent + 1} of ${sent + waiting.length} …` : '';
    if (!file) return (sent = 0);
    try {
      model.send({ name: file.name }, undefined, [await file.arrayBuffer()]);
    } catch {
      done(); // A folder, or a file that is gone
    }
  }
  function done() {
    waiting.shift();
    sent += 1;
    next();
  }
  function take(files) {
    const idle = !waiting.length;
    waiting.push(...files);
    if (idle && waiting.length) next();
  }
  model.on('msg:custom', (message) => message.done !== undefined && done());
  input.addEventListener('change', () => {
    take(input.files);
    input.value = ''; // So that the same file can be chosen again
  });
  for (const kind of ['dragenter', 'dragover', 'dragleave', 'drop'])
    zone.addEventListener(kind, (e) => {
      e.preventDefault();
      e.stopPropagation();
      zone.classList.toggle('over', kind === 'dragenter' || kind === 'dragover');
      if (kind === 'drop') take(e.dataTransfer.files);
    });
}
export default { render };
