// A click on a column's name, or Enter, sorts its table by that column; empty cells stay last.
function compareText(a, b) {
  const numeric = !isNaN(a) && !isNaN(b)
  return numeric ? a - b : a.localeCompare(b)
}

function sortBy(head) {
  const ascending = head.ariaSort !== 'ascending'
  const text = row => row.cells[head.cellIndex].textContent.trim()
  const compareRows = (rowA, rowB) => {
    const a = text(rowA)
    const b = text(rowB)
    const emptyLast = (a === '') - (b === '')
    return emptyLast || (ascending ? 1 : -1) * compareText(a, b)
  }
  for (const other of head.parentNode.cells) other.ariaSort = 'none'
  head.ariaSort = ascending ? 'ascending' : 'descending'
  const body = head.closest('table').tBodies[0]
  body.append(...[...body.rows].sort(compareRows))
}

for (const head of document.querySelectorAll('thead th')) {
  head.tabIndex = 0
  head.style.cursor = 'pointer'
  head.title = 'sort by this column'
  head.onclick = () => sortBy(head)
  head.onkeydown = event => { if (event.key === 'Enter') sortBy(head) }
}
