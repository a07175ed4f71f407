// Decisions of all pages of one set of images: [label, name] in JSON -> [what, when]. They are kept in the browser, and
// travel with each link as well, since some browsers give every file a memory of its own.
const key = 'birdsort ' + document.body.dataset.key,
  $ = (name) => document.querySelector(name),
  read = (json) => {
    try {
      return JSON.parse(json) || {};
    } catch {
      return {};
    }
  },
  kept = () => {
    try {
      return read(localStorage.getItem(key));
    } catch {
      return {};
    }
  },
  merge = (...all) => {
    const found = {};
    for (const one of all)
      for (const [id, [to, at]] of Object.entries(one)) if (!(at < found[id]?.[1])) found[id] = [to, at];
    return found;
  },
  carried = () => {
    try {
      const found = read(decodeURIComponent(location.hash.slice(1)));
      return found.key === key ? found.decided : {};
    } catch {
      return {};
    }
  };
let store = merge(kept(), carried());
if (location.hash) history.replaceState(null, '', location.pathname + location.search);

// As birdsort's csv_cell
const text = (t) => t.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]+/g, ' '),
  cell = (t) => text(t).replace(/(^|;)([\s"\u200b\ufeff]*)(?=[=+\-@＝＋－＠])/g, "$1$2'"),
  quote = (t) => '"' + cell(t).replaceAll('"', '""') + '"';

function decided() {
  return Object.entries(store)
    .filter(([, [to]]) => to)
    .map(([id, [to]]) => [...JSON.parse(id), to]);
}

function count() {
  const rows = decided();
  if ($('#all')) $('#all').textContent = rows.length;
  for (const b of document.querySelectorAll('[data-decided]'))
    b.textContent = rows.filter(([label]) => label === b.dataset.decided).length;
}

function keep() {
  store = merge(kept(), store);
  try {
    localStorage.setItem(key, JSON.stringify(store));
  } catch {} // The links carry them
  count();
}

function save() {
  keep();
  const lines = ['label,name,decision', ...decided().map((row) => row.map(quote).join(','))],
    a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([lines.join('\n') + '\n'], { type: 'text/csv' }));
  a.download = 'decisions.csv';
  a.click();
}

$('#save').addEventListener('click', save);
document.addEventListener('click', (e) => {
  const link = e.target.closest('a[data-page]');
  if (link)
    link.href = link.dataset.page + '#' + encodeURIComponent(JSON.stringify({ key, decided: merge(kept(), store) }));
});
window.addEventListener('pageshow', keep);
window.addEventListener('storage', keep);

const all = [...document.querySelectorAll('figure')],
  brush = $('select'),
  large = $('dialog');
let here = 0,
  steps = [];

function show(f) {
  const id = JSON.stringify([f.dataset.label, f.dataset.name]),
    to = store[id]?.[0] || '',
    b = f.querySelector('b');
  if (to) f.dataset.to = to;
  else delete f.dataset.to;
  f.setAttribute('aria-selected', to ? 'true' : 'false');
  b.textContent = to;
  b.hidden = !to;
  if ($('#n')) $('#n').textContent = all.filter((f) => f.dataset.to).length;
}

function mark(f, to) {
  const id = JSON.stringify([f.dataset.label, f.dataset.name]);
  store[id] = [to, Date.now()];
  keep();
  show(f);
}

function decide(f, to) {
  const before = f.dataset.to || '';
  steps.push([f, before]);
  mark(f, before === to ? '' : to);
}

function undo() {
  const [f, before] = steps.pop() || [];
  if (f) mark(f, before), go(all.indexOf(f));
}

function go(i) {
  all[here]?.setAttribute('tabindex', -1);
  here = Math.min(Math.max(i, 0), all.length - 1);
  all[here].setAttribute('tabindex', 0);
  if (large.open) enlarge();
  else all[here].focus();
}

function enlarge() {
  const f = all[here],
    small = f.querySelector('img'),
    photo = large.querySelector('img');
  photo.onerror = () => {
    photo.onerror = null;
    photo.src = small.src; // The page was taken elsewhere, without the images
  };
  photo.src = f.dataset.file || small.src;
  photo.alt = small.alt;
  large.querySelector('p').textContent =
    `${f.title}${f.dataset.to ? ' · ' + f.dataset.to : ''} (${here + 1} of ${all.length})`;
  if (!large.open) large.showModal();
}

function press(e) {
  if (e.ctrlKey || e.metaKey || e.altKey || /^(SELECT|BUTTON|INPUT|A|SUMMARY)$/.test(e.target.tagName)) return;
  const options = [...brush.options].map((o) => o.value),
    usual = Number(brush.dataset.usual), // So many are no labels
    columns = large.open ? 1 : getComputedStyle($('main')).gridTemplateColumns.split(' ').length,
    steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -all.length, End: all.length },
    words = { x: 'remove', Delete: 'remove', k: 'keep', d: 'distinct', ' ': brush.value },
    to = words[e.key] ?? (/^[1-9]$/.test(e.key) ? options[usual + Number(e.key) - 1] : undefined);
  if (e.key in steps) go(here + steps[e.key]);
  else if (options.includes(to)) {
    decide(all[here], to);
    if (large.open) enlarge();
  } else if (e.key === 'Enter') large.open ? large.close() : enlarge();
  else if (e.key === 'u') undo();
  else if (e.key === 's') save();
  else if (e.key === 'n') $('a[rel=next]')?.click();
  else if (e.key === 'p') $('a[rel=prev]')?.click();
  else return;
  e.preventDefault();
}

if (all.length) {
  all.forEach((f, i) => {
    f.addEventListener('click', (e) => {
      if (e.detail > 1) return; // The second half of a double click
      go(i);
      decide(f, brush.value);
    });
    f.addEventListener('dblclick', () => {
      undo();
      enlarge();
    });
  });
  document.addEventListener('keydown', press);
  large.addEventListener('click', () => large.close());
  large.addEventListener('close', () => go(here));
  $('#size').addEventListener('input', (e) => document.documentElement.style.setProperty('--side', e.target.value + 'px'));
  const again = () => all.forEach(show);
  window.addEventListener('pageshow', again);
  window.addEventListener('storage', again);
}
count();
