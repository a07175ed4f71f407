// The drop zone of the served page. Gradio runs this as the body of a function with `element` (the box of the zone),
// `trigger` (sends an event) and `upload` among its parameters, so no name here may be `upload`.
const maxPhotos = MAX_PHOTOS;

const showStatus = text => { element.querySelector('.bs-tell').textContent = text; };

const uploadPhoto = async file => {
  const form = new FormData();
  form.append('photo', file);
  try {
    const response = await fetch('photo', {method: 'POST', body: form});
    return await response.json();
  } catch {
    return {error: 'the server did not answer'};
  }
};

// One photo after the other, so that one that is refused does not hold up the rest
const send = async files => {
  const chosen = [...files].slice(0, maxPhotos);
  const photos = [];
  for (const [i, file] of chosen.entries()) {
    showStatus(`Sending ${i + 1} of ${chosen.length} …`);
    photos.push({name: file.name, ...await uploadPhoto(file)});
  }
  showStatus(files.length > maxPhotos ? `At most ${maxPhotos} at once: the others were left out.` : '');
  if (photos.length) trigger('submit', {photos});
};

element.addEventListener('change', event => {
  const files = [...event.target.files];
  event.target.value = ''; // So that the same file can be chosen again
  send(files);
});

element.addEventListener('click', event => {
  const button = event.target.closest('[data-sample]');
  if (button) trigger('submit', {photos: [{name: button.title, sample: Number(button.dataset.sample)}]});
});

for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    element.querySelector('.bs-drop').classList.toggle('over', kind === 'dragover');
    if (kind === 'drop') send(event.dataTransfer.files);
  });
}

document.addEventListener('paste', event => {
  if (event.clipboardData.files.length) send(event.clipboardData.files);
});
