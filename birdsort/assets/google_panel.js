
const [k, ms, done] = arguments, a = tiles[k], size = i => { const r = i.getBoundingClientRect(); return r.width*r.height; };
if (!a) return done(null);
const seen = i => { const r = i.getBoundingClientRect(); return r.right > 0 && r.bottom > 0 && r.left < innerWidth && r.top < innerHeight && getComputedStyle(i).visibility !== 'hidden'; };
const before = new Set([...document.images].filter(seen).map(i => i.src)), small = size(image(a)), grid = new Set(tiles.map(image));
const photo = i => /^https?:/.test(i.src) && !/[?&]q=tbn:|gstatic\.com/.test(i.src) && !before.has(i.src) && !grid.has(i) && seen(i) && size(i) > small;
const page = i => { for (let e = i; e; e = e.parentElement) { const l = e.matches('a[href^=http]') ? e : e.querySelector('a[href^=http]:not([href*="/imgres?"])');
  if (l && l.host !== location.host) return l.href; if (e.querySelectorAll('img').length > 8) break; } return ''; };
a.scrollIntoView({block: 'center'}); point(a, ['mouseover', 'mousedown', 'mouseup', 'click']);
const end = Date.now()+ms;
(function look() {
  const found = [...document.images].filter(photo).sort((x, y) => size(y)-size(x))[0];
  if (found) return done([found.src, page(found), image(a).alt || found.alt || '']);
  Date.now() > end ? done(null) : setTimeout(look, 40);
})();