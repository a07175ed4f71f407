for (const head of document.querySelectorAll('thead th')) {
  head.tabIndex = 0;
  head.style.cursor = 'pointer';
  head.title = 'sort by this';
  const sort = () => {
    const at = head.cellIndex,
      body = head.closest('table').tBodies[0],
      up = head.ariaSort !== 'ascending',
      text = (row) => row.cells[at].textContent.trim();
    const by = (a, b) =>
      (a === '') - (b === '') || (up ? 1 : -1) * (isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b);
    for (const other of head.parentNode.cells) other.ariaSort = 'none';
    head.ariaSort = up ? 'ascending' : 'descending';
    body.append(...[...body.rows].sort((a, b) => by(text(a), text(b))));
  };
  head.onclick = sort;
  head.onkeydown = (e) => {
    if (e.key === 'Enter') sort();
  };
}
