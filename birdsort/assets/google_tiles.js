
const open = h => !h || h === '#' || h.startsWith('javascript:') || h.includes('/imgres?');
const target = i => { const a = i.closest('a'); if (a) return open(a.getAttribute('href')) ? a : null;
  const b = i.closest('[role=button], [tabindex], [jsaction]'); return b && b.querySelectorAll('img').length <= 2 ? b : null; };
const large = i => { const r = i.getBoundingClientRect(); return r.width >= 60 && r.height >= 60; };
const tiles = [...new Set([...document.images].filter(large).map(target).filter(a => a))];
const image = a => a.querySelector('img');
