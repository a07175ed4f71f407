// After google_tiles.js: bring the mouse near every tile; [link, title] of each.
const link = (tile) => tile.getAttribute('href') || '';
for (const tile of tiles)
  if (!link(tile).includes('/imgres?'))
    point(tile, ['mouseover', 'mouseenter', 'mousemove', 'mousedown', 'mouseup']);
return tiles.map((tile) => [link(tile), image(tile).alt || '']);
