
const bare = a => !(a.getAttribute('href') || '').includes('/imgres?');
for (const a of tiles) if (bare(a)) point(a, ['mouseover', 'mouseenter', 'mousemove', 'mousedown', 'mouseup']);
return tiles.map(a => [a.getAttribute('href') || '', image(a).alt || '']);