function render({ model, el }) {
  const make = (name, parent) => parent.appendChild(document.createElement(name));
  const grid = make('div', el),
    large = make('dialog', el),
    photo = make('img', large),
    words = make('p', large),
    keys = make('small', large);
  grid.className = 'birdsort-grid';
  large.className = 'birdsort-large';
  keys.textContent = 'left and right: the next image; x, k, m … decide; esc: back';
  for (const part of [grid, large]) part.dataset.lmSuppressShortcuts = 'true';
  grid.tabIndex = 0;
  grid.setAttribute('role', 'listbox');
  grid.setAttribute('aria-multiselectable', 'true');
  grid.setAttribute('aria-label', 'images');
  const columns = () => getComputedStyle(grid).gridTemplateColumns.split(' ').length;
  function size() {
    grid.style.setProperty('--side', model.get('side') + 'px');
  }
  function images() {
    grid.replaceChildren(
      ...model.get('images').map((p) => {
        const tile = document.createElement('div'),
          img = make('img', tile),
          badge = make('b', tile),
          says = make('span', tile);
        tile.dataset.id = p.id;
        tile.id = `birdsort-${model.model_id ?? ''}-${p.id}`;
        tile.setAttribute('role', 'option');
        tile.title = p.title;
        img.src = p.src;
        img.alt = p.title;
        img.draggable = false;
        says.textContent = p.says;
        if (p.group) tile.dataset.group = p.group % 2;
        return tile;
      }),
    );
    grid.scrollTop = 0;
    marks();
  }
  function marks() {
    const all = model.get('marks');
    [...grid.children].forEach((tile, i) => {
      const m = all[i] || {},
        here = i === model.get('cursor');
      tile.dataset.mark = m.mark || '';
      tile.querySelector('b').textContent = m.text || '';
      tile.setAttribute('aria-selected', m.mark ? 'true' : 'false');
      tile.classList.toggle('here', here);
      if (here) grid.setAttribute('aria-activedescendant', tile.id);
    });
  }
  grid.addEventListener('mousedown', (e) => {
    if (e.shiftKey || e.detail > 1) e.preventDefault();
  });
  grid.addEventListener('click', (e) => {
    const tile = e.target.closest('[data-id]');
    if (!tile || e.detail > 1) return; // The second half of a double click
    grid.focus({ preventScroll: true });
    model.send({ click: +tile.dataset.id, shift: e.shiftKey });
  });
  grid.addEventListener('dblclick', (e) => {
    const tile = e.target.closest('[data-id]');
    if (tile) model.send({ unclick: +tile.dataset.id, large: true });
  });
  function key(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !(e.key.length === 1 || /^(Arrow|Page|Delete|Enter)/.test(e.key)))
      return;
    e.preventDefault();
    e.stopPropagation();
    if (large.open && e.key === 'Enter') return large.close();
    const step = large.open ? e.key.replace('Up', 'Left').replace('Down', 'Right') : e.key;
    model.send({ key: step, columns: columns(), large: large.open || e.key === 'Enter' });
  }
  grid.addEventListener('keydown', key);
  large.addEventListener('keydown', key);
  large.addEventListener('click', () => large.close());
  large.addEventListener('close', () => grid.focus({ preventScroll: true }));
  model.on('msg:custom', (message) => {
    if (!message.large) return;
    photo.src = message.large;
    photo.alt = words.textContent = message.says;
    if (!large.open) large.showModal();
  });
  model.on('change:images', images);
  model.on('change:marks', marks);
  model.on('change:side', size);
  model.on('change:cursor', () => {
    marks();
    grid.querySelector('.here')?.scrollIntoView({ block: 'nearest' });
  });
  size();
  images();
}
export default { render };
