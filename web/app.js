// The status page of Holdfast: asks the daemon that served it, every two seconds, and draws what it says.
// Names and texts come from clusters and are hostile until shown: they only ever become text nodes and attributes of a fixed
// list (the page's policy refuses markup from strings altogether).
'use strict';

const PERIOD_MS = 2000, PERIOD_MAX_MS = 15000, ANSWER_MAX_MS = 10000;
const PAGE = 50, AUDIT_SHOWN = 100, SEEN_MAX = 500;

/* ------------------------------------------------------------------ light and dark, before anything is drawn */

const THEMES = { auto: 'System colours', light: 'Light', dark: 'Dark' };

function themeNow() {
  try { return THEMES[localStorage.getItem('theme')] ? localStorage.getItem('theme') : 'auto'; } catch { return 'auto'; }
}

function themeUse(theme) {
  if (theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
}

themeUse(themeNow());

/* ------------------------------------------------------------------ a tree of what should be there, and how to get there
 * h() describes an element; patch() makes the children of a node like the description and keeps the elements that fit, so that
 * the focus, an open <details> and a selection stay where they are while numbers change. */

const SVG = 'http://www.w3.org/2000/svg';

function h(tag, attrs, ...children) {
  return { tag, attrs: attrs ?? {}, children: children.flat(4).filter(c => c !== null && c !== undefined && c !== false && c !== '') };
}

function create(v, parent) {
  if (typeof v !== 'object') return document.createTextNode(String(v));
  const svg = v.tag === 'svg' || (parent.namespaceURI === SVG && parent.tagName !== 'foreignObject');
  const node = svg ? document.createElementNS(SVG, v.tag) : document.createElement(v.tag);
  node.hfKey = v.attrs.key;
  update(node, v);
  return node;
}

function update(node, v) {
  if (typeof v !== 'object') {
    if (node.data !== String(v)) node.data = String(v);
    return;
  }
  const wanted = new Set();
  for (const [name, value] of Object.entries(v.attrs)) {
    if (name === 'key' || value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) {
      if (!node.hfOn) node.hfOn = {};
      const type = name.slice(2);
      if (!node.hfOn[type]) node.addEventListener(type, event => node.hfOn[type](event));
      node.hfOn[type] = value;
      continue;
    }
    wanted.add(name);
    const text = value === true ? '' : String(value);
    if (node.getAttribute(name) !== text) node.setAttribute(name, text);
  }
  for (const { name } of [...node.attributes])
    if (!wanted.has(name) && !(name === 'open' && node.tagName === 'DETAILS')) node.removeAttribute(name);
  patch(node, v.children);
}

function patch(parent, children) {
  const keyed = new Map(), used = new Set();
  for (const node of parent.childNodes) if (node.hfKey !== undefined) keyed.set(node.hfKey, node);
  let at = parent.firstChild;
  for (const v of children) {
    const key = typeof v === 'object' ? v.attrs.key : undefined;
    let node = key !== undefined ? keyed.get(key) : at && at.hfKey === undefined ? at : null;
    const fits = node && !used.has(node) &&
      (typeof v === 'object' ? node.nodeType === 1 && node.localName === v.tag : node.nodeType === 3);
    if (fits) update(node, v);
    else node = create(v, parent);
    used.add(node);
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  for (const node of [...parent.childNodes]) if (!used.has(node)) node.remove();
}

/* ------------------------------------------------------------------ numbers for people */

const group = new Intl.NumberFormat('en').format;

function bytes(n) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let at = 0;
  while (n >= 1024 && at < units.length - 1) { n /= 1024; at++; }
  return (at === 0 || n >= 100 ? Math.round(n) : n >= 10 ? n.toFixed(1) : n.toFixed(2)) + ' ' + units[at];
}

function took(ms) {
  if (ms < 1000) return Math.round(ms) + ' ms';
  const s = ms / 1000;
  if (s < 10) return s.toFixed(1) + ' s';
  if (s < 120) return Math.round(s) + ' s';
  const min = Math.floor(s / 60);
  if (min < 120) return min < 10 ? `${min} min ${Math.floor(s % 60)} s` : min + ' min';
  const hours = Math.floor(min / 60);
  return hours < 48 ? `${hours} h ${min % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

const clockText = new Intl.DateTimeFormat('sv', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayText = new Intl.DateTimeFormat('sv', { year: 'numeric', month: '2-digit', day: '2-digit' });

function time(ms) {
  const date = new Date(ms);
  return dayText.format(date) === dayText.format(new Date()) ? clockText.format(date) : `${dayText.format(date)} ${clockText.format(date)}`;
}

/** By the daemon's clock, whatever the browser's says. */
const now = () => Date.now() + state.skew;
/** An age: in whole seconds, so that nothing flickers. */
const age = ms => took(Math.max(1000, Math.floor((now() - ms) / 1000) * 1000)).replace('.0 s', ' s');
const ago = ms => now() - ms < 2000 ? 'just now' : age(ms) + ' ago';
const when = ms => ms > 0 ? h('time', { datetime: new Date(ms).toISOString(), title: new Date(ms).toLocaleString() }, ago(ms)) : '–';
const some = (n, one, many) => `${group(n)} ${n === 1 ? one : many ?? one + 's'}`;
/** May be broken after the slash. Clusters on ZooKeeper have no namespace. */
const named = c => c.namespace ? [c.namespace + '/', h('wbr'), c.cluster] : c.cluster;
const short = id => h('code', { title: id }, id.slice(0, 8));

/* ------------------------------------------------------------------ what is known */

const state = {
  status: null, skew: 0, lastSeen: 0, failures: 0, nextTry: 0, needsToken: false, tokenWrong: false, refused: null,
  replicas: new Map(), data: {}, error: null, search: '', pages: [''], route: [], seen: new Map(), width: 0,
};

const token = {
  get() { try { return sessionStorage.getItem('token') ?? ''; } catch { return token.kept ?? ''; } },
  set(text) {
    token.kept = text;
    try { if (text) sessionStorage.setItem('token', text); else sessionStorage.removeItem('token'); } catch { /* kept above */ }
  },
};

class Refusal extends Error {
  constructor(code, body) { super(body?.message ?? `answer ${code}`); this.code = code; this.body = body; }
}

/** The answer's JSON; a Refusal for every other status than 200, else what fetch throws. */
async function ask(path) {
  const headers = token.get() ? { Authorization: 'Bearer ' + token.get() } : {};
  const answer = await fetch(path, { headers, cache: 'no-store', redirect: 'error', signal: AbortSignal.timeout(ANSWER_MAX_MS) });
  const body = await answer.json();
  if (answer.status !== 200) throw new Refusal(answer.status, body);
  return body;
}

const leads = () => state.status !== null && state.status.leads_since_ms > 0;
const quoted = part => encodeURIComponent(part);
/** As lists want it: no '/' can be in a parameter, a blank stands for it. */
const matching = text => quoted(text.replaceAll('/', ' '));
const clusterPath = (ns, name) => `/v1/clusters/${quoted(ns)}/${quoted(name)}`;
const clusterLink = (ns, name, job) => `#/clusters/${quoted(ns)}/${quoted(name)}${job ? '/' + quoted(job) : ''}`;

/* ------------------------------------------------------------------ parts */

const card = (title, aside, ...body) => h('section', { class: 'card' },
  h('div', { class: 'title' }, h('h2', null, title), aside && h('span', { class: 'soft small' }, aside)), body);
const note = (...text) => h('p', { class: 'note' }, text);
const pill = (kind, text) => h('span', { class: 'pill ' + kind }, text);
const fact = (name, value, more) => h('div', null, h('dt', null, name), h('dd', null, value, more && h('small', null, ' ', more)));
const pairs = rows => h('dl', { class: 'pairs' }, rows.filter(Boolean).map(([name, ...value]) => [h('dt', null, name), h('dd', null, value)]));

function head(title, under, { crumbs, aside } = {}) {
  return h('div', { class: 'head' }, h('div', null,
    crumbs && h('p', { class: 'crumbs' }, crumbs), h('h1', { tabindex: '-1' }, title), under && h('p', { class: 'soft' }, under)), aside);
}

/** columns: [name, class]; rows: {key, cells}. */
function table(caption, columns, rows) {
  return h('div', { class: 'scroll' }, h('table', null, h('caption', { class: 'hidden' }, caption),
    h('thead', null, h('tr', null, columns.map(([name, kind]) => h('th', { scope: 'col', class: kind }, name)))),
    h('tbody', null, rows.map(row => h('tr', { key: row.key }, row.cells.map((cell, i) => h('td', { class: columns[i][1] }, cell)))))));
}

/** Pages go by the key after which they start: state.pages holds one for each page that was turned. */
function pager(next, count, word) {
  const page = state.pages.length;
  if (page === 1 && !next) return null;
  const turn = by => () => {
    if (by > 0) state.pages.push(next);
    else state.pages.pop();
    refresh();
  };
  return h('div', { class: 'pager' }, h('span', null, `Page ${page} · ${some(count, word)}`),
    h('button', { type: 'button', disabled: page === 1, onclick: turn(-1) }, 'Previous'),
    h('button', { type: 'button', disabled: !next, onclick: turn(1) }, 'Next'));
}

/** A link to another replica's page, when its address is one. */
function replicaLink(address, text) {
  if (!/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}$/.test(address ?? '')) return address ?? 'nobody known';
  return h('a', { href: `${location.protocol}//${address}/${location.hash}`, rel: 'noreferrer' }, text ?? address);
}

/* ------------------------------------------------------------------ plots */

function ticks(max, count, steps) {
  let step = steps.find(s => max / s <= count) ?? steps[steps.length - 1] * 2 ** Math.ceil(Math.log2(max / steps[steps.length - 1] / count));
  const list = [];
  for (let at = 0; at <= max + step * .999; at += step) list.push(at);
  return list.length > 1 ? list : [0, step];
}

const BYTE_STEPS = Array.from({ length: 50 }, (_, i) => 2 ** i);
const MS_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 15000, 30000, 60000, 120000, 300000, 600000, 1200000, 1800000, 3600000];

/** points: {at, value, savepoint, title}, by time. */
function plot(name, points, show, steps) {
  const width = Math.max(280, state.width - 2), height = 176, left = 70, right = 18, top = 20, bottom = 26;
  const most = Math.max(...points.map(p => p.value), 1);
  const lines = ticks(most, 4, steps), ceiling = lines[lines.length - 1];
  const from = points[0].at, to = Math.max(points[points.length - 1].at, from + 1);
  const single = points.length === 1;
  const x = at => single ? (left + width - right) / 2 : left + (at - from) / (to - from) * (width - left - right);
  const y = value => height - bottom - value / ceiling * (height - top - bottom);
  const newest = points[points.length - 1];
  const path = points.map((p, i) => `${i ? 'L' : 'M'}${x(p.at).toFixed(1)} ${y(p.value).toFixed(1)}`).join('');
  const marks = single ? [from] : [0, 1, 2, 3].slice(0, width < 420 ? 2 : 4).map((i, _, all) => from + (to - from) * i / (all.length - 1));
  const dots = points.length <= 150 ? points : points.filter(p => p.savepoint || p === newest);
  return h('svg', { class: 'plot', viewBox: `0 0 ${width} ${height}`, height, role: 'img', 'aria-label':
      `${name} of ${some(points.length, 'checkpoint')} from ${time(from)} to ${time(to)}; the newest: ${show(newest.value)}` },
    lines.map(value => [h('line', { class: 'grid', x1: left, x2: width - right, y1: y(value).toFixed(1), y2: y(value).toFixed(1) }),
      h('text', { x: left - 10, y: (y(value) + 4).toFixed(1), 'text-anchor': 'end' }, value === 0 ? '0' : show(value).replace('.00', '').replace('.0', ''))]),
    marks.map((at, i) => h('text', { x: x(at).toFixed(1), y: height - 7,
      'text-anchor': single ? 'middle' : i === 0 ? 'start' : i === marks.length - 1 ? 'end' : 'middle' }, time(at))),
    !single && h('path', { class: 'area', d: `${path}L${x(newest.at).toFixed(1)} ${y(0)}L${x(from).toFixed(1)} ${y(0)}Z` }),
    !single && h('path', { class: 'curve', d: path }),
    dots.map(p => p.savepoint
      ? h('rect', { class: 'savepoint', x: (x(p.at) - 4).toFixed(1), y: (y(p.value) - 4).toFixed(1), width: 8, height: 8 }, h('title', null, p.title))
      : h('circle', { class: 'dot', cx: x(p.at).toFixed(1), cy: y(p.value).toFixed(1), r: dots.length > 60 ? 2.5 : 4 }, h('title', null, p.title))));
}

/* ------------------------------------------------------------------ views: load() asks, draw() describes */

const allowed = new Map(); // path -> when it was refused: a role does not change every two seconds

/** Null for what this caller may not see; that is asked for again after a minute. */
async function askIfAllowed(path) {
  const key = path.split('?')[0];
  if (Date.now() - (allowed.get(key) ?? -Infinity) < 60000) return null;
  try {
    return await ask(path);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 403) throw error;
    allowed.set(key, Date.now());
    return null;
  }
}

const notAllowed = note('Your role may not see this.');
const onlyLeader = () => h('section', { class: 'card' }, note('Only the leader knows this: ',
  replicaLink(state.status.leader, state.status.leader && `open the page of ${state.status.leader}`), '.'));

function replicasCard() {
  const known = new Map([...state.replicas].sort());
  const leader = state.status.leader;
  if (leader && !known.has(leader)) known.set(leader, { leads: true, unseen: true });
  const rows = [...known].map(([address, r]) => ({ key: address, cells: [
    [h('strong', null, r.name ?? address), address === state.status.address && h('span', { class: 'soft' }, ' · this one'),
      h('div', { class: 'narrow' }, replicaLink(address))],
    replicaLink(address), r.unseen ? pill('good', 'leads') : r.leads && address === leader ? pill('good', 'leads') : pill('', r.state),
    r.unseen ? '–' : [group(r.epoch), ' / ', group(r.revision)], r.unseen || !r.leads ? '–' : age(r.leads_since_ms),
    r.unseen ? 'not asked by this page' : when(r.at)] }));
  return card('Replicas', 'this one, its leader, and who else answered here', table('Replicas',
    [['Replica'], ['Address', 'wide'], ['State'], ['Epoch / revision', 'n wide'], ['Leads for', 'n'], ['Last heard', 'wide']], rows));
}

const overview = {
  name: 'Overview',
  async load() {
    if (!leads()) {
      const [orphans, alerts] = await Promise.all([ask('/v1/orphans'), ask('/v1/alerts')]);
      return { orphans, alerts };
    }
    const [orphans, alerts, gc, audit, page, leaders] = await Promise.all([ask('/v1/orphans'), ask('/v1/alerts'), ask('/v1/gc'),
      askIfAllowed('/v1/audit?newest=5'), ask('/v1/clusters?limit=8'), ask('/v1/leaders?limit=500')]);
    return { orphans, alerts, gc, audit, page, leaders };
  },
  draw(data) {
    const s = state.status, left = (data.orphans?.clusters ?? []).filter(c => c.orphan);
    const without = data.leaders && !data.leaders.next ? Math.max(0, s.clusters - data.leaders.leaders.length) : 0;
    return [
      head(leads() ? `${s.name} leads` : s.leader ? `${s.name} stands by` : 'No leader is known',
        leads() ? `for ${age(s.leads_since_ms)}, in epoch ${group(s.epoch)}` : s.leader && ['for ', replicaLink(s.leader), ', which leads'], { aside: alertsPill(data.alerts) }),
      alertsCard(data.alerts),
      h('dl', { class: 'facts', id: 'facts' },
        fact('Clusters', group(s.clusters), without > 0 && `${group(without)} without a leader`), fact('Sessions', group(s.sessions)),
        fact('Revision', group(s.revision)), fact('Epoch', group(s.epoch)), fact('State kept', bytes(s.bytes), some(s.entries, 'entry', 'entries')),
        fact('Waiting writes', group(s.queue)), fact('Connections', group(s.connections)), fact('Memory peak', bytes(s.memory_peak_bytes))),
      replicasCard(),
      data.page?.clusters.length > 0 && card('Clusters', h('a', { href: '#/clusters' }, 'Search all'), clustersTable(data.page, data.leaders)),
      h('div', { class: 'cols' },
        card('Orphans', h('a', { href: '#/orphans' }, 'Show them'), h('div', { class: 'body' }, orphansSummary(data.orphans, left))),
        leads() && data.gc && card('Garbage', h('a', { href: '#/garbage' }, 'Show it'), h('div', { class: 'body' }, gcSummary(data.gc)))),
      data.audit && card('Last changes by hand', h('a', { href: '#/audit' }, 'Show all'), auditTable(data.audit)),
    ];
  },
};

const SEVERITIES = { critical: 'bad', warning: 'warn', info: '' };
const firing = alerts => (alerts?.alerts ?? []).filter(a => a.state === 'firing')
  .sort((a, b) => (a.severity === 'critical' ? 0 : 1) - (b.severity === 'critical' ? 0 : 1) || a.since_ms - b.since_ms);

function alertsPill(alerts) {
  const list = firing(alerts);
  return !alerts ? null : list.length === 0 ? pill('good', 'nothing is wrong') : pill(SEVERITIES[list[0].severity], some(list.length, 'alert'));
}

function alertsCard(alerts) {
  const list = firing(alerts), shown = list.slice(0, 20);
  return list.length > 0 && h('section', { class: 'card', id: 'alerts' }, h('div', { class: 'title' }, h('h2', null, 'Wrong now')),
    table('What is wrong now', [['What'], ['Where', 'wide'], ['For', 'n']], shown.map(a => ({ key: `${a.rule} ${a.namespace}/${a.cluster} ${a.job}`, cells: [
      [pill(SEVERITIES[a.severity] ?? '', a.severity), ' ', h('strong', null, a.title), a.silenced && h('span', { class: 'soft' }, ' (silenced)'), h('div', { class: 'soft' }, a.text),
        a.cluster && h('div', { class: 'narrow' }, alertPlace(a))],
      a.cluster ? alertPlace(a) : 'this installation', age(a.since_ms)] }))),
    list.length > shown.length && note(`${group(list.length - shown.length)} more: `, h('code', null, 'holdfast alerts list')));
}

const OF_OBSERVED = new Set(['checkpoint-slow', 'checkpoint-failing', 'job-restarting', 'job-failed', 'cluster-silent']);
const OF_ORPHANS = new Set(['orphans-found', 'zombie-pair']);
const alertPlace = a => h('a', { href: OF_ORPHANS.has(a.rule) ? '#/orphans'
  : (OF_OBSERVED.has(a.rule) ? observedLink : clusterLink)(a.namespace, a.cluster, a.job) }, named(a));

function orphansSummary(o, left) {
  if (!o) return null;
  if (!o.enabled) return h('p', { class: 'soft' }, 'This daemon does not look for them (', h('code', null, 'orphans.kubernetes'), ', ',
    h('code', null, 'orphans.zookeeper.quorum'), ').');
  if (o.error) return h('p', { class: 'wrong' }, 'The last look failed: ', o.error);
  const open = o.clusters.filter(c => c.verdict === 'unknown').length;
  return h('p', null, left.length ? pill('warn', `${group(left.length)} left over`) : open ? pill('', `${group(open)} undecided`) : pill('good', 'none left over'),
    ' ', h('span', { class: 'soft' }, `of ${some(o.clusters.length, 'cluster')} on Flink’s own HA, looked at `, when(o.looked_ms)));
}

function gcSummary(gc) {
  return [gc.now ? busy(gc.now) : h('p', { class: 'soft' }, 'Nothing is under way.'),
    h('p', null, gc.failing ? pill('bad', some(gc.failing, 'job') + ' failing') : pill('good', 'no failures'), ' ',
      h('span', { class: 'soft' }, `${some(gc.discards, 'deletion')} recorded, ${some(gc.jobs, 'job')} looked after, policy ${gc.policy}`))];
}

function busy(work) {
  const what = { discards: 'Finishing deletions', plan: 'Judging the folder', sweep: 'Sweeping' }[work.what] ?? work.what;
  return h('div', { id: 'busy' }, h('p', null, h('strong', null, what), ' of ', h('a', { href: clusterLink(work.namespace, work.cluster, work.job) },
    named(work)), ' ', short(work.job)),
    h('progress', { 'aria-label': what, max: Math.max(1, work.planned), ...(work.planned ? { value: work.done } : {}) }),
    h('p', { class: 'soft small' }, work.planned ? `${group(work.done)} of ${some(work.planned, 'file')}, for ${took(work.took_ms)}` : `for ${took(work.took_ms)}`));
}

function clustersTable(page, leaders) {
  const granted = new Map(leaders.leaders.map(l => [`${l.namespace}/${l.cluster}`, l.granted_ms]));
  return table('Clusters', [['Cluster'], ['Leading JobManager', 'wide'], ['Leads for', 'n wide'], ['Waiting', 'n wide'], ['Jobs', 'n'], ['Checkpoints', 'n wide'], ['Flink', 'wide']],
    page.clusters.map(c => {
      const name = `${c.namespace}/${c.cluster}`;
      return { key: name, cells: [[h('a', { href: clusterLink(c.namespace, c.cluster) }, named(c)),
        h('div', { class: 'narrow soft' }, c.holder ?? pill('warn', 'no leader'))], c.holder ?? pill('warn', 'no leader'),
        c.holder && granted.has(name) ? age(granted.get(name)) : '–', group(c.waiting), group(c.jobs), group(c.checkpoints), c.flink_version || '–'] };
    }));
}

const clusters = {
  name: 'Clusters',
  leader: true,
  async load() {
    const query = `?limit=${PAGE}` + (state.search ? '&match=' + matching(state.search) : '') +
      (state.pages.at(-1) ? '&after=' + quoted(state.pages.at(-1)) : '');
    const [page, leaders] = await Promise.all([ask('/v1/clusters' + query), ask('/v1/leaders' + query)]);
    return { ...page, leaders };
  },
  draw(data) {
    return [
      head('Clusters', some(state.status.clusters, 'cluster') + ' registered', { aside: h('div', { class: 'search' },
        h('label', { class: 'hidden', for: 'search' }, 'Search by namespace or cluster'),
        h('input', { id: 'search', type: 'search', placeholder: 'Search namespace/cluster', autocomplete: 'off', spellcheck: 'false', maxlength: 200,
          oninput: event => { state.search = event.target.value.trim(); state.pages = ['']; refresh(); } })) }),
      h('section', { class: 'card', id: 'clusters' },
        data.clusters.length === 0 ? note(state.search ? `No cluster’s name contains “${state.search}”.`
          : 'No cluster has registered yet: start a JobManager with the Holdfast plugin.')
          : clustersTable(data, data.leaders),
        pager(data.next, data.clusters.length, 'cluster')),
    ];
  },
};

/** What is not registered may still be observed. */
const unregistered = ([ns, name, job]) => [head(named({ namespace: ns, cluster: name }), 'Not registered here, or not any more', { crumbs: h('a', { href: '#/clusters' }, 'Clusters') }),
  h('section', { class: 'card' }, note('Perhaps it is ', h('a', { href: observedLink(ns, name, job) }, 'observed'), ', and runs without Holdfast.'))];

async function loadOr404(view, route) {
  try {
    return await view.load(route);
  } catch (error) {
    if (!(error instanceof Refusal) || error.code !== 404) throw error;
    return { missing: route };
  }
}

const cluster = {
  leader: true,
  async load([ns, name]) {
    const path = clusterPath(ns, name);
    const [one, jobs, leader, leaders] = await Promise.all([ask(path), ask(path + '/jobs'), ask(path + '/leader'),
      ask('/v1/leaders?limit=100&match=' + matching(`${ns}/${name}`))]);
    return { one, jobs: jobs.jobs, leader, granted: leaders.leaders.find(l => l.namespace === ns && l.cluster === name) };
  },
  draw({ one, jobs, leader, granted }) {
    const components = Object.entries(leader.components ?? {});
    return [
      head(named(one), one.holder ? ['led by ', h('strong', null, one.holder), granted && ` for ${age(granted.granted_ms)}`]
        : pill('warn', 'no leader'), { crumbs: h('a', { href: '#/clusters' }, 'Clusters') }),
      h('section', { class: 'card', id: 'jobs' }, h('div', { class: 'title' }, h('h2', null, 'Jobs')),
        jobs.length === 0 ? note('No job.') : table('Jobs',
          [['Job'], ['State'], ['Newest checkpoint', 'n'], ['Retained', 'n wide'], ['Deletions left', 'n wide'], ['Graph', 'n wide']],
          jobs.map(job => ({ key: job.id, cells: [
            h('a', { href: clusterLink(one.namespace, one.cluster, job.id), 'aria-label': 'Job ' + job.id }, h('code', null, job.id)),
            job.graph?.quarantined ? pill('bad', 'quarantined') : pill(job.state === 'running' ? 'good' : '', job.state),
            job.latest === null ? '–' : group(job.latest), group(job.checkpoints), group(job.discards), job.graph ? bytes(job.graph.size) : '–'] })))),
      card('Cluster', null, h('div', { class: 'body' }, pairs([
        ['Leader session', one.leader_session ? h('code', null, one.leader_session) : '–'],
        granted && ['Fence', group(granted.fence)],
        ['Waiting in line', some(one.waiting, 'JobManager')],
        ...components.map(([component, c]) => [component, h('code', null, c.address)]),
        ['Flink', one.flink_version || '–'], ['HA storage', h('code', null, one.storage_dir || '–')],
        ['Checkpoints', h('code', null, one.checkpoint_dir || '–')], ['Registered', when(one.registered_ms)],
        ['Results kept', group(one.results)]]))),
    ];
  },
};

/* A job's checkpoints: those the store retains or is about to delete, those this leader has seen, and those seen from here. */
function remember(key, answer) {
  const seen = state.seen.get(key) ?? new Map();
  for (const c of [...(answer.recent ?? []), ...answer.discards, ...answer.checkpoints])
    seen.set(c.id, { id: c.id, at: c.completed_ms, size: c.size, took: Math.max(0, c.completed_ms - c.started_ms),
      savepoint: c.savepoint ?? (c.properties ? c.properties.type !== 'CHECKPOINT' : seen.get(c.id)?.savepoint) });
  const sorted = new Map([...seen.values()].sort((a, b) => a.at - b.at || a.id - b.id).slice(-SEEN_MAX).map(c => [c.id, c]));
  state.seen.clear(); // of one job at a time
  state.seen.set(key, sorted);
  return [...sorted.values()];
}

/** points: {id, at, size, took, savepoint}, by time. */
function plots(points) {
  if (points.length === 0) return null;
  const point = value => c => ({ at: c.at, value: value(c), savepoint: c.savepoint,
    title: `${c.savepoint ? 'Savepoint' : 'Checkpoint'} ${c.id}, ${time(c.at)}: ${bytes(c.size)}, ${took(c.took)}` });
  const last = points.at(-1), span = points.length > 1 ? `, ${some(points.length, 'checkpoint')} in ${took(last.at - points[0].at)}` : '';
  return h('div', { class: 'cols', id: 'plots' },
    card('Size', `newest ${bytes(last.size)}${span}`, h('div', { class: 'body' }, plot('Size', points.map(point(c => c.size)), bytes, BYTE_STEPS))),
    card('Duration', `newest ${took(last.took)}${span}`, h('div', { class: 'body' }, plot('Duration', points.map(point(c => c.took)), took, MS_STEPS))));
}

const job = {
  leader: true,
  async load([ns, name, id]) {
    // The list goes by name: what follows this is the job itself, if it is looked after. Asking for the job alone would be a 404 else.
    const after = quoted(`${ns} ${name} ${id.slice(0, 31)}`);
    const [answer, one, gc] = await Promise.all([ask(`${clusterPath(ns, name)}/jobs/${quoted(id)}/checkpoints?recent=true`),
      ask(`${clusterPath(ns, name)}/jobs/${quoted(id)}`), askIfAllowed(`/v1/gc/jobs?limit=16&after=${after}`)]);
    return { ns, name, id, answer, one, history: remember(`${ns}/${name}/${id}`, answer),
      gc: gc?.jobs.find(j => j.namespace === ns && j.cluster === name && j.job === id) };
  },
  draw({ ns, name, id, answer, one, history, gc }) {
    const list = [...answer.checkpoints].reverse(), newest = list[0];
    return [
      head(h('code', null, id), newest ? ['checkpoint ', h('strong', null, group(newest.id)), ' completed ', when(newest.completed_ms)] : 'no checkpoint yet',
        { crumbs: [h('a', { href: '#/clusters' }, 'Clusters'), ' / ', h('a', { href: clusterLink(ns, name) }, `${ns}/${name}`)],
          aside: one.graph?.quarantined ? pill('bad', 'quarantined') : pill(one.state === 'running' ? 'good' : '', one.state) }),
      one.graph?.quarantined && card('Why it is quarantined', null, h('div', { class: 'body' }, one.graph.quarantined)),
      plots(history),
      h('section', { class: 'card', id: 'checkpoints' }, h('div', { class: 'title' }, h('h2', null, 'Retained checkpoints'),
        h('span', { class: 'soft small' }, `next id ${group(answer.next_id)}`)),
        list.length === 0 ? note('None.') : table('Retained checkpoints',
          [['Id', 'n'], ['Completed', ''], ['Duration', 'n'], ['Size', 'n'], ['Kind', 'wide'], ['Pointer', 'wide']],
          list.slice(0, 100).map(c => ({ key: String(c.id), cells: [group(c.id), when(c.completed_ms), took(Math.max(0, c.completed_ms - c.started_ms)), bytes(c.size),
            c.quarantined ? [pill('bad', 'quarantined'), ' ', h('span', { class: 'soft' }, c.quarantined)] : h('span', { class: 'fit' }, (c.properties?.type ?? '–').toLowerCase()),
            c.pointer ? h('code', null, c.pointer) : 'inline'] }))),
        list.length > 100 && note(`The newest 100 of ${group(list.length)}.`)),
      h('div', { class: 'cols' },
        card('Files of deleted checkpoints', some(answer.discards.length, 'deletion') + ' left', gc
          ? h('div', { class: 'body' }, outcome('Deletions', gc.last_discards), outcome('Last sweep', gc.last_sweep),
            h('p', { class: 'soft' }, 'Next sweep ', gc.next_sweep_in_ms > 0 ? 'in ' + took(gc.next_sweep_in_ms) : 'soon'))
          : note('This job is not looked after (yet).')),
        card('Job', null, h('div', { class: 'body' }, pairs([['State', one.state], ['Next checkpoint id', group(one.next_id)],
          ['Graph', one.graph ? `${bytes(one.graph.size)}, revision ${group(one.graph.revision)}` : '–']])))),
    ];
  },
};

function outcome(what, o) {
  if (!o) return h('p', null, what, ': ', h('span', { class: 'soft' }, 'none yet'));
  const parts = [o.discards && some(o.discards, 'deletion') + ' finished', o.files && `${some(o.files, 'file')} gone (${bytes(o.bytes)})`,
    o.to_go && `${some(o.to_go, 'file')} may go (${bytes(o.to_go_bytes)})`, o.kept && `${group(o.kept)} kept`, o.uncertain && `${group(o.uncertain)} uncertain`,
    o.waiting && `${group(o.waiting)} too young`].filter(Boolean);
  const reasons = Object.entries(o.reasons ?? {});
  return h('div', null, h('p', null, what, ' ', when(o.at_ms), ': ', o.status === 'OK' ? pill('good', 'done') : pill('bad', o.status), ' ',
    h('span', { class: 'soft' }, parts.join(', ') || 'nothing to do', `, took ${took(o.took_ms)}`)),
    o.message && h('p', { class: o.status === 'OK' ? 'soft small' : 'wrong small' }, o.message),
    reasons.length > 0 && h('details', null, h('summary', null, 'Reasons'), h('ul', { class: 'list small' },
      reasons.map(([reason, count]) => h('li', null, `${reason}: ${typeof count === 'number' ? group(count) : JSON.stringify(count)}`)))));
}

/* Clusters that are looked at by REST, on Holdfast or not: docs/observed.md. */
const observedLink = (ns, name, job) => clusterLink(ns, name, job).replace('#/clusters', '#/observed');
const STATES = { RUNNING: 'good', FAILED: 'bad', FAILING: 'bad', RESTARTING: 'warn', SUSPENDED: 'warn', GONE: 'warn' };
const jobState = state => pill(STATES[state] ?? '', state.toLowerCase() || 'unknown');
const kindOf = c => c.savepoint ? 'savepoint' : 'checkpoint';
const advice = r => r.from ? [`${kindOf(r.from)} ${group(r.from.id)}`, h('div', { class: 'soft' }, r.why)] : h('span', { class: 'soft' }, r.why);

const observed = {
  name: 'Observed',
  leader: true,
  async load() {
    const after = state.pages.at(-1);
    return { page: await ask(`/v1/observed?limit=${PAGE}` + (after ? '&after=' + quoted(after) : '')) };
  },
  draw({ page }) {
    return [
      head('Observed', 'Clusters whose jobs are looked at through Flink’s REST interface, on Holdfast or not'),
      h('section', { class: 'card', id: 'observed' }, page.observed.length === 0
        ? note('None. They are named by the settings ', h('code', null, 'observe.clusters'), ' and ', h('code', null, 'observe.known'), '.')
        : table('Observed clusters', [['Cluster'], ['Address', 'wide'], ['Flink', 'wide'], ['Running jobs', 'n'], ['Missed', 'n wide'], ['Last look']],
          page.observed.map(c => ({ key: `${c.namespace}/${c.cluster}`, cells: [h('a', { href: observedLink(c.namespace, c.cluster) }, named(c)), h('code', null, c.url),
            c.flink_version || '–', `${group(c.running)} of ${group(c.jobs)}`, group(c.missed), liveText(c.live)] }))),
      pager(page.next, page.observed.length, 'cluster')),
    ];
  },
};

function liveText(live) {
  if (!live) return h('span', { class: 'soft' }, 'not looked at now');
  return live.answers ? [pill('good', 'answers'), ' ', h('span', { class: 'soft' }, when(live.looked_ms))]
    : [pill('bad', 'silent'), ' ', h('span', { class: 'soft' }, live.error ?? '')];
}

const observedCluster = {
  leader: true,
  load: async ([ns, name]) => ({ one: await ask(clusterPath(ns, name) + '/observed') }),
  draw({ one }) {
    return [
      head(named(one), [liveText(one.live), one.flink_version && `, Flink ${one.flink_version}`], { crumbs: h('a', { href: '#/observed' }, 'Observed') }),
      h('section', { class: 'card', id: 'observed' }, one.jobs.length === 0 ? note('No job was seen.') : table('Jobs',
        [['Job'], ['State'], ['Recorded', 'n wide'], ['Missed', 'n wide'], ['Failed', 'n wide'], ['Restore from', 'wide']],
        one.jobs.map(j => ({ key: j.id, cells: [[h('a', { href: observedLink(one.namespace, one.cluster, j.id), 'aria-label': `Job ${j.name} ${j.id}` }, j.name || j.id),
          h('div', { class: 'soft' }, h('code', null, j.id))], jobState(j.state), group(j.recorded), group(j.missed), group(j.failures), advice(j.restore)] })))),
    ];
  },
};

const observedJob = {
  leader: true,
  load: async ([ns, name, id]) => ({ ns, name, one: await ask(`${clusterPath(ns, name)}/jobs/${quoted(id)}/observed?limit=500`) }),
  draw({ ns, name, one }) {
    const points = one.checkpoints.filter(c => c.completed_ms > 0).map(c => ({ id: c.id, at: c.completed_ms, size: c.size, took: Math.max(0, c.completed_ms - c.started_ms), savepoint: c.savepoint }))
      .sort((a, b) => a.at - b.at);
    const list = [...one.checkpoints].reverse(), from = one.restore.from;
    return [
      head(one.name || h('code', null, one.id), [h('code', null, one.id), one.interval_ms > 0 && `, a checkpoint every ${took(one.interval_ms)}`],
        { crumbs: [h('a', { href: '#/observed' }, 'Observed'), ' / ', h('a', { href: observedLink(ns, name) }, `${ns}/${name}`)], aside: jobState(one.state) }),
      plots(points),
      h('div', { class: 'cols' },
        card('Restore from', null, h('div', { class: 'body' }, h('p', null, from ? h('strong', null, `${kindOf(from)} ${group(from.id)}`) : h('strong', null, 'nothing'), ': ', one.restore.why,
          one.restore.runs && '. It runs: do not start it a second time'), from && h('p', null, h('code', null, from.path)))),
        card('Seen', null, h('div', { class: 'body' }, pairs([['Recorded', group(one.recorded)], ['Missed', one.maybe_missed > 0 ? `${group(one.missed)}, perhaps ${group(one.maybe_missed)} more` : group(one.missed)],
          ['Failed checkpoints', group(one.failures)], ['JobManagers', group(one.lives)],
          ['States', [...one.states].reverse().map((s, i) => [i > 0 && ', ', s.state.toLowerCase(), ' ', h('span', { class: 'soft' }, when(s.since_ms))])]])))),
      h('section', { class: 'card', id: 'checkpoints' }, h('div', { class: 'title' }, h('h2', null, 'Completed checkpoints')), list.length === 0 ? note('None.') : table('Completed checkpoints',
        [['Id', 'n'], ['Completed'], ['Duration', 'n'], ['Size', 'n'], ['Kind', 'wide'], ['Path', 'wide']],
        list.slice(0, 100).map(c => ({ key: `${c.run}/${c.id}`, cells: [group(c.id), when(c.completed_ms), c.completed_ms ? took(Math.max(0, c.completed_ms - c.started_ms)) : '–', bytes(c.size),
          [c.type.toLowerCase().replaceAll('_', ' ') || kindOf(c), c.discarded && h('span', { class: 'soft' }, ', discarded')], h('code', null, c.path ?? '–')] }))),
      list.length > 100 && note(`The newest 100 of ${group(list.length)}.`)),
    ];
  },
};

const orphans = {
  name: 'Orphans',
  count: () => (state.data.orphans?.clusters ?? []).filter(c => c.orphan).length,
  load: async () => ({ orphans: await ask('/v1/orphans') }),
  draw({ orphans: o }) {
    const found = [...o.clusters].sort((a, b) => b.orphan - a.orphan);
    const shown = found.slice(0, 200);
    return [
      head('Orphans', 'HA metadata of Flink clusters that are not on Holdfast'),
      h('section', { class: 'card', id: 'orphans' },
        h('div', { class: 'title' }, orphansSummary(o, found.filter(c => c.orphan)), h('span', { class: 'soft small' }, o.looking ? 'Looking…' : `policy ${o.policy}`)),
        shown.map(c => h('div', { class: 'entry', key: `${c.backend} ${c.namespace}/${c.cluster}` },
          h('h3', null, named(c), pill(verdictKind(c), c.verdict), h('span', { class: 'soft small' }, c.backend)),
          h('p', null, sentence(c.sentence), c.changed_ms > 0 && h('span', { class: 'soft' }, ' Changed ', when(c.changed_ms), '.')),
          h('ul', { class: 'list' }, c.reasons.map(r => h('li', null, r.text)), c.jobs.map(j => h('li', null, j.text))),
          c.objects.length > 0 && h('details', null, h('summary', null, some(c.objects.length, 'object')),
            h('ul', { class: 'list small' }, c.objects.map(name => h('li', null, h('code', null, name))))))),
        found.length > shown.length && note(`The first 200 of ${group(found.length)}; all of them: `, h('code', null, 'holdfast orphans list'))),
    ];
  },
};

const verdictKind = c => c.living ? 'good' : /revive|override|zombie|broken/.test(c.verdict) ? 'bad' : c.orphan ? 'warn' : '';
const sentence = text => text ? text[0].toUpperCase() + text.slice(1) + '.' : '';

const garbage = {
  name: 'Garbage',
  leader: true,
  async load() {
    const after = state.pages.at(-1);
    const [gc, jobs, trash] = await Promise.all([ask('/v1/gc'),
      ask(`/v1/gc/jobs?limit=${PAGE}` + (after ? '&after=' + quoted(after) : '')), ask('/v1/trash?limit=20')]);
    return { gc, jobs, trash };
  },
  draw({ gc, jobs, trash }) {
    const t = gc.totals;
    const result = o => !o ? '–' : o.status === 'OK' ? [o.files ? `${some(o.files, 'file')} gone` : o.to_go ? `${some(o.to_go, 'file')} may go` : 'nothing to do',
      h('span', { class: 'soft' }, ', ', when(o.at_ms))] : [pill('bad', o.status), ' ', h('span', { class: 'soft' }, o.message)];
    return [
      head('Garbage', `Files that no checkpoint needs; policy ${gc.policy}`),
      h('dl', { class: 'facts five' }, fact('Deletions left', group(gc.discards)), fact('Finished', group(t.discards_finished)), fact('Files gone', group(t.files), bytes(t.bytes)),
        fact('Sweeps', group(t.sweeps), t.plans > 0 && some(t.plans, 'plan')), fact('Failures', group(t.failures), gc.failing > 0 && some(gc.failing, 'job') + ' failing')),
      card('Under way', null, h('div', { class: 'body' }, gc.now ? busy(gc.now) : h('p', { class: 'soft' }, 'Nothing.'))),
      h('section', { class: 'card', id: 'gc-jobs' }, h('div', { class: 'title' }, h('h2', null, 'Jobs looked after')),
        jobs.jobs.length === 0 ? note('None.') : table('Jobs looked after',
          [['Job'], ['Deletions left', 'n'], ['Last deletions', 'wide'], ['Last sweep', 'wide'], ['Next sweep', 'n']],
          jobs.jobs.map(j => ({ key: `${j.namespace}/${j.cluster}/${j.job}`, cells: [
            [h('a', { href: clusterLink(j.namespace, j.cluster, j.job) }, named(j)), ' ', short(j.job)],
            [group(j.discards), j.due && ' due'], result(j.last_discards), result(j.last_sweep), j.next_sweep_in_ms > 0 ? 'in ' + took(j.next_sweep_in_ms) : 'soon'] }))),
        pager(jobs.next, jobs.jobs.length, 'job')),
      card('Trash', 'job data deleted without a recorded end', trash.trash.length === 0 ? note('Empty.') : table('Trash',
        [['Cluster'], ['Job', 'wide'], ['Deleted', 'n'], ['Bring it back', 'wide']],
        trash.trash.map(e => ({ key: e.id, cells: [named(e), short(e.job), when(e.deleted_ms),
          h('code', null, `POST /v1/trash/${e.id}/restore`)] }))), trash.next && note('There are more.')),
    ];
  },
};

function auditTable(answer) {
  return answer.audit.length === 0 ? note('Nothing was changed by hand.') : table('What was changed by hand, newest first',
    [['When', 'fit'], ['Who'], ['From', 'wide'], ['What'], ['Revision', 'n wide']],
    [...answer.audit].reverse().map(a => ({ key: String(a.id), cells: [when(a.at_ms), a.who, a.address, [h('code', null, a.method, ' ', a.path)], group(a.revision)] })));
}

const audit = {
  name: 'Audit',
  leader: true,
  load: async () => ({ audit: await askIfAllowed('/v1/audit?newest=' + AUDIT_SHOWN) }),
  draw: ({ audit: answer }) => [head('Audit', `What was changed by hand, the newest ${AUDIT_SHOWN} at most`),
    h('section', { class: 'card', id: 'audit' }, answer ? auditTable(answer) : notAllowed)],
};

/* ------------------------------------------------------------------ which view */

const TABS = [['', overview], ['clusters', clusters], ['observed', observed], ['orphans', orphans], ['garbage', garbage], ['audit', audit]];

function routeRead() {
  try {
    return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map(decodeURIComponent);
  } catch {
    return [];
  }
}

function viewOf(route) {
  if (route[0] === 'clusters' && route.length > 2) return route.length === 3 ? cluster : job;
  if (route[0] === 'observed' && route.length > 2) return route.length === 3 ? observedCluster : observedJob;
  return TABS.find(([path]) => path === (route[0] ?? ''))?.[1] ?? overview;
}

/* ------------------------------------------------------------------ asking */

let generation = 0, timer = 0;

function noteStatus(status) {
  const before = state.status;
  state.status = status;
  state.skew = status.now_ms - Date.now();
  state.replicas.set(status.address, { name: status.name, state: status.state, leads: status.leads_since_ms > 0, epoch: status.epoch,
    revision: status.revision, leads_since_ms: status.leads_since_ms, at: status.now_ms });
  while (state.replicas.size > 32) state.replicas.delete(state.replicas.keys().next().value);
  if (before && before.leader !== status.leader) say(status.leader ? `${status.leader} leads now` : 'No replica is known to lead');
}

function noteError(error) {
  const refusal = error instanceof Refusal ? error : null;
  state.needsToken = refusal?.code === 401;
  state.refused = refusal && refusal.code !== 401 && refusal.code !== 421 ? refusal : null;
  state.tokenWrong = state.needsToken && token.get() !== '';
  if (refusal) {
    state.failures = 0;
    return;
  }
  if (state.failures++ === 0) say('Connection lost');
}

async function run() {
  const mine = ++generation, route = state.route, view = viewOf(route);
  clearTimeout(timer);
  try {
    const status = await ask('/v1/status');
    if (mine !== generation) return;
    noteStatus(status);
    const data = view.leader && !leads() ? {} : await loadOr404(view, route.slice(1));
    if (mine !== generation) return;
    if (state.failures > 0) say('Connected again');
    Object.assign(state, { data, drawn: route, orphans: data.orphans ?? state.orphans, failures: 0, lastSeen: Date.now(), needsToken: false, refused: null });
  } catch (error) {
    if (mine !== generation) return;
    noteError(error);
  }
  const pause = Math.min(PERIOD_MS * 2 ** Math.max(0, state.failures - 1), PERIOD_MAX_MS);
  state.nextTry = Date.now() + pause;
  draw();
  if (!document.hidden) timer = setTimeout(run, pause);
}

/** At once: somebody turned a page, or asks to. */
function refresh() {
  clearTimeout(timer);
  run();
}

/* ------------------------------------------------------------------ drawing */

const byId = id => document.getElementById(id);

function say(text) {
  byId('live').textContent = text;
}

function banner() {
  const s = state.status, strip = (kind, ...what) => h('div', { class: 'banner ' + kind }, h('div', null, what));
  if (state.failures > 0) {
    const wait = Math.max(0, Math.ceil((state.nextTry - Date.now()) / 1000));
    return [strip('bad', h('strong', null, 'Connection lost'),
      h('span', null, state.lastSeen ? `Last seen ${ago(state.lastSeen + state.skew)}, at ${time(state.lastSeen)}. ` : 'This daemon has not answered yet. ',
        wait > 0 ? `Trying again in ${wait} s.` : 'Trying again…'), h('button', { type: 'button', onclick: refresh }, 'Try now'))];
  }
  if (state.refused)
    return [strip('warn', h('strong', null, state.refused.code === 403 ? 'Not allowed' : 'The daemon answers'), h('span', null, state.refused.message))];
  if (s && !leads() && !state.needsToken)
    return [strip('warn', h('strong', null, 'This replica stands by'), h('span', null, s.leader
      ? ['What is below is what it knows itself. ', replicaLink(s.leader, `Open the page of ${s.leader}, which leads`)] : 'No replica is known to lead at the moment.'))];
  return [];
}

function tokenForm() {
  return h('div', { class: 'view', key: 'token' }, head('Who are you?', 'This daemon wants credentials before it says anything.'),
    h('section', { class: 'card' }, h('div', { class: 'body' }, h('form', { class: 'token', onsubmit: event => {
      event.preventDefault();
      token.set(byId('token').value.trim());
      allowed.clear();
      refresh();
    } }, h('label', { for: 'token' }, 'Bearer token of a reader or an admin'),
    h('input', { id: 'token', type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, 'aria-describedby': 'token-help' }),
    state.tokenWrong && h('p', { class: 'wrong', role: 'alert' }, 'This token is not known here.'),
    h('p', { class: 'soft small', id: 'token-help' }, 'It is kept in this tab until you close it, and sent to this daemon only. With a client’s certificate in the browser none is needed.'),
    h('div', null, h('button', { type: 'submit' }, 'Show the page'))))));
}

function content() {
  if (state.needsToken) return [tokenForm()];
  if (!state.status || !state.drawn) return state.failures || state.refused ? [] : [note('Asking the daemon…')];
  const view = viewOf(state.drawn);
  return [h('div', { class: 'view', key: state.drawn.join('/') + (leads() ? '' : ' standby') },
    view.leader && !leads() ? [head(view.name ?? 'Cluster'), onlyLeader()]
    : state.data.missing ? unregistered(state.data.missing) : view.draw(state.data))];
}

function footer() {
  const s = state.status;
  return s && !state.needsToken ? [h('span', null, `Holdfast ${s.version} · store `, h('code', null, s.store), ` · election ${s.election} · up for ${age(s.started_ms)}`),
    h('span', null, token.get() ? h('button', { type: 'button', class: 'quiet', onclick: () => { token.set(''); state.drawn = null; state.status = null; refresh(); } }, 'Forget the token')
      : `Asked every ${PERIOD_MS / 1000} s`)] : [];
}

function measure() {
  const main = byId('main'), style = getComputedStyle(main), narrow = matchMedia('(max-width: 760px)').matches;
  const inner = main.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  state.width = narrow ? inner - 30 : (inner - 20) / 2 - 38;
}

function draw() {
  const s = state.status, left = (state.orphans?.clusters ?? []).filter(c => c.orphan).length, section = state.route[0] ?? '';
  patch(byId('replica'), s && !state.needsToken ? [leads() ? pill('good', 'leads') : pill(s.leader ? '' : 'bad', s.state),
    h('span', { class: 'name' }, s.name, h('span', { class: 'soft' }, ' · ', s.address))] : []);
  patch(byId('tabs'), TABS.map(([path, view]) => h('a', { key: path, href: '#/' + path,
    'aria-current': path === section ? 'page' : null },
  view.name, view === orphans && left > 0 && h('span', { class: 'pill warn count', 'aria-label': `${left} left over` }, group(left)))));
  patch(byId('banner'), banner());
  document.body.classList.toggle('away', state.failures > 0);
  measure();
  patch(byId('main'), content());
  patch(byId('foot'), footer());
  const what = byId('main').querySelector('h1')?.textContent;
  document.title = (state.failures ? 'Connection lost – ' : what ? what + ' – ' : '') + 'Holdfast';
  if (state.focusHead && state.drawn === state.route) {
    state.focusHead = false;
    byId('main').querySelector('h1')?.focus();
  }
}

function navigated(event) {
  state.route = routeRead();
  state.pages = [''];
  state.search = '';
  if (event) state.focusHead = true;
  draw();
  refresh();
}

document.addEventListener('DOMContentLoaded', () => {
  const theme = byId('theme');
  const themeShow = () => { theme.textContent = THEMES[themeNow()]; theme.setAttribute('aria-label', `Colours: ${THEMES[themeNow()]}. Change`); };
  theme.addEventListener('click', () => {
    const names = Object.keys(THEMES), next = names[(names.indexOf(themeNow()) + 1) % names.length];
    try { localStorage.setItem('theme', next); } catch { /* then it stays as it is */ }
    themeUse(next);
    themeShow();
  });
  themeShow();
  byId('skip').addEventListener('click', event => { event.preventDefault(); byId('main').focus(); });
  addEventListener('hashchange', navigated);
  addEventListener('online', refresh);
  document.addEventListener('visibilitychange', () => { if (document.hidden) clearTimeout(timer); else refresh(); });
  new ResizeObserver(() => { if (state.drawn) draw(); }).observe(byId('main'));
  setInterval(() => { if (!document.hidden && (state.status || state.failures)) draw(); }, 1000);
  navigated();
});
