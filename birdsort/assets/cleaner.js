function render({ model, el }) {
  const grid = document.createElement('div');
  grid.className = 'birdsort-grid';
  grid.tabIndex = 0;
  grid.dataset.lmSuppressShortcuts = 'true';
  grid.setAttribute('role', 'listbox');
  grid.setAttribute('aria-multiselectable', 'true');
  grid.setAttribute('aria-label', 'images');
  el.appendChild(grid);
  const columns = () => getComputedStyle(grid).gridTemplateColumns.split(' ').length;
  function images() {
    grid.replaceChildren(
      ...model.get('images').map((p) => {
        const tile = document.createElement('div'),
          img = document.createElement('img'),
          badge = document.createElement('b'),
          says = document.createElement('span');
        tile.dataset.id = p.id;
        tile.setAttribute('role', 'option');
        tile.title = p.title;
        img.src = p.src;
        img.alt = p.title;
        img.draggable = false;
        says.textContent = p.says;
        if (p.group) tile.dataset.group = p.group % 2;
        tile.append(img, badge, says);
        return tile;
      }),
    );
    marks();
  }
  function marks() {
    const all = model.get('marks');
    [...grid.children].forEach((tile, i) => {
      const m = all[i] || {};
      tile.dataset.mark = m.mark || '';
      tile.querySelector('b').textContent = m.text || '';
      tile.setAttribute('aria-selected', m.mark ? 'true' : 'false');
      tile.classList.toggle('here', i === model.get('cursor'));
    });
  }
  grid.addEventListener('mousedown', (e) => {
    if (e.shiftKey) e.preventDefault();
  });
  grid.addEventListener('click', (e) => {
    const tile = e.target.closest('[data-id]');
    if (tile) {
      grid.focus({ preventScroll: true });
      model.send({ click: +tile.dataset.id, shift: e.shiftKey });
    }
  });
  grid.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.metaKey || e.altKey || !(e.key.length === 1 || /^(Arrow|Page|Delete)/.test(e.key)))
      return;
    e.preventDefault();
    e.stopPropagation();
    model.send({ key: e.key, columns: columns() });
  });
  model.on('change:images', images);
  model.on('change:marks', marks);
  model.on('change:cursor', () => {
    marks();
    grid.querySelector('.here')?.scrollIntoView({ block: 'nearest' });
  });
  images();
}
export default { render };
