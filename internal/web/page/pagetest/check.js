(() => {
  const found = [];
  const say = (what, el) => found.push(what + (el ? ': ' + el.outerHTML.slice(0, 140).replace(/\s+/g, ' ') : ''));
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const shown = (el) => el.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) && el.getClientRects().length > 0;

  if (!document.documentElement.lang) say('no language');
  if (!document.title.trim()) say('no title');
  if (all('h1').length !== 1) say(all('h1').length + ' headings of the first level');
  let level = 0;
  for (const h of all('h1, h2, h3, h4, h5, h6').filter(shown)) {
    const n = Number(h.tagName[1]);
    if (n > level + 1) say('a heading skips a level', h);
    if (!h.textContent.trim()) say('an empty heading', h);
    level = n;
  }
  const ids = new Set();
  for (const el of all('[id]')) {
    if (ids.has(el.id)) say('an id twice', el);
    ids.add(el.id);
  }
  for (const el of all('[aria-describedby], [aria-labelledby]')) {
    for (const id of ((el.getAttribute('aria-describedby') || '') + ' ' + (el.getAttribute('aria-labelledby') || '')).trim().split(/\s+/)) {
      if (!ids.has(id)) say('described by nothing', el);
    }
  }
  for (const el of all('a[href^="#"]')) if (!ids.has(el.getAttribute('href').slice(1))) say('a link to nothing', el);
  for (const el of all('input:not([type=hidden]), select, textarea')) {
    const named = el.labels && Array.from(el.labels).some((l) => l.textContent.trim()) || el.getAttribute('aria-label');
    if (!named) say('a field without a label', el);
  }
  for (const el of all('button, a[href], summary')) if (!el.textContent.trim() && !el.getAttribute('aria-label')) say('no name', el);
  for (const el of all('fieldset')) if (!el.querySelector('legend')) say('no legend', el);
  for (const el of all('img')) if (!el.hasAttribute('alt')) say('no text for a picture', el);
  for (const el of all('svg')) if (el.getAttribute('aria-hidden') !== 'true' && !el.querySelector('title')) say('no text for a drawing', el);
  for (const el of all('table')) {
    if (!el.caption || !el.caption.textContent.trim()) say('a table without a caption', el);
    if (el.querySelector('th:not([scope])')) say('a heading of a table without a scope', el);
  }
  for (const el of all('nav')) if (all('nav').length > 1 && !el.getAttribute('aria-label')) say('a navigation without a name', el);
  if (!document.querySelector('main')) say('no main part');
  if (document.querySelector('[style], style, script:not([src])')) say('style or script within the page');

  // Nothing is wider than the window: tables scroll within themselves.
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width + 1) {
    say('wider than the window: ' + document.documentElement.scrollWidth + ' of ' + width);
    for (const el of all('main *')) {
      if (el.getBoundingClientRect().right > width + 1 && !el.closest('.table, pre')) {
        say('sticks out', el);
        break;
      }
    }
  }
  // What is pressed is large enough for a finger (WCAG 2.2, 2.5.8): links within text are not
  // measured.
  for (const el of all('button, select, summary, input:not([type=hidden]), nav a').filter(shown)) {
    const b = (el.type === 'checkbox' || el.type === 'radio') && el.closest('label') ? el.closest('label').getBoundingClientRect() : el.getBoundingClientRect();
    if (b.width < 24 || b.height < 24) say('too small to press: ' + Math.round(b.width) + 'x' + Math.round(b.height), el);
  }

  // Contrast (WCAG 1.4.3): of each text with what is behind it.
  const parse = (text) => {
    const n = text.match(/[\d.]+/g).map(Number);
    if (text.startsWith('color(')) return [n[0] * 255, n[1] * 255, n[2] * 255, n.length > 3 ? n[3] : 1];
    return [n[0], n[1], n[2], n.length > 3 ? n[3] : 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const light = (c) => {
    const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (el) => {
    const layers = [];
    for (let e = el; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) layers.push(c);
      if (c[3] === 1) break;
    }
    const dark = getComputedStyle(document.documentElement).colorScheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches;
    return layers.reverse().reduce((under, top) => over(top, under), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const seen = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || seen.has(el) || !shown(el) || el.closest('[disabled], .skip')) continue;
    seen.add(el);
    const style = getComputedStyle(el);
    const back = behind(el);
    const front = over(parse(style.color), back);
    const a = light(front), b = light(back);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
    if (ratio < (large ? 3 : 4.5)) say('contrast ' + ratio.toFixed(2), el);
  }
  return found.slice(0, 20);
})()
