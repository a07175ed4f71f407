const most = MOST, zone = () => element.querySelector('.bs-drop'), tell = t => { element.querySelector('.bs-tell').textContent = t; };
const send = async files => {
  const photos = [];
  for (const [i, f] of [...files].slice(0, most).entries()) {
    tell(`Sending ${i+1} of ${Math.min(files.length, most)} …`);
    const form = new FormData();
    form.append('photo', f);
    const said = await fetch('photo', {method: 'POST', body: form}).then(r => r.json()).catch(() => ({error: 'the server did not answer'}));
    photos.push({name: f.name, ...said});
  }
  tell(files.length > most ? `At most ${most} at once: the others were left out.` : '');
  if (photos.length) trigger('submit', {photos});
};
element.addEventListener('change', e => { const files = [...e.target.files]; e.target.value = ''; send(files); });
element.addEventListener('click', e => { const b = e.target.closest('[data-sample]'); if (b) trigger('submit', {photos: [{name: b.title, sample: Number(b.dataset.sample)}]}); });
for (const kind of ['dragover', 'dragleave', 'drop']) document.addEventListener(kind, e => {
  e.preventDefault();
  zone().classList.toggle('over', kind === 'dragover');
  if (kind === 'drop') send(e.dataTransfer.files);
});
document.addEventListener('paste', e => { if (e.clipboardData.files.length) send(e.clipboardData.files); });