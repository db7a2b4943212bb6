// Validates recorded requests (JSON lines) with the request schemas that
// Rocket.Chat itself uses: @rocket.chat/rest-typings, unpacked below vendor/.
// The package cannot be installed with npm, since a dependency uses the patch
// protocol. Its schemas need only ajv and one enumeration.
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs';
import { build } from 'esbuild';

const typings = new URL('./vendor/package/dist/v1/', import.meta.url).pathname;
const out = new URL('./vendor/schemas.mjs', import.meta.url).pathname;
const here = new URL('.', import.meta.url).pathname;

mkdirSync(`${here}vendor`, { recursive: true });
writeFileSync(`${here}vendor/core-typings.mjs`, 'export const ILivechatAgentStatus = { AVAILABLE: "available", NOT_AVAILABLE: "not-available" };\n');
await build({
	stdin: {
		contents: `
export * from '${typings}chat.js';
export * from '${typings}dm/DmCreateProps.js';
export * from '${typings}omnichannel.js';
export * from '${typings}rooms.js';
export * from '${typings}settings.js';
export * from '${typings}subscriptionsEndpoints.js';
export * from '${typings}users/UsersInfoParamsGet.js';`,
		resolveDir: here,
	},
	bundle: true,
	format: 'esm',
	platform: 'node',
	outfile: out,
	nodePaths: [`${here}node_modules`],
	alias: { '@rocket.chat/core-typings': `${here}vendor/core-typings.mjs` },
	banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
	logLevel: 'error',
});
const s = await import(out);

const schemas = {
	'POST chat.sendMessage': s.isChatSendMessageProps,
	'POST chat.postMessage': s.isChatPostMessageProps,
	'POST chat.update': s.isChatUpdateProps,
	'POST im.create': s.isDmCreateProps,
	'GET chat.getMessage': s.isChatGetMessageProps,
	'GET rooms.info': s.isRoomsInfoProps,
	'GET subscriptions.getOne': s.isSubscriptionsGetOneProps,
	'GET settings.public': s.isSettingsPublicWithPaginationProps,
	'GET users.info': s.isUsersInfoParamsGetProps,
	'GET livechat/visitors.info': s.isLivechatVisitorsInfoProps,
	'GET livechat/rooms': s.isGETLivechatRoomsParams,
	'GET livechat/custom-fields': s.isLivechatCustomFieldsProps,
};
for (const [route, validate] of Object.entries(schemas)) {
	if (typeof validate !== 'function') throw new Error(`the package has no schema for ${route}`);
}

// Routes without parameters, which have no schema.
const without = ['GET me', 'GET /api/info', 'GET livechat/integrations.settings'];

// Routes of lists for which the package has no schema. They take a page and a search.
const lists = ['GET livechat/units'];
const ofLists = ['count', 'offset', 'sort', 'text'];

function faultOf({ method, path, query, body }) {
	const route = `${method} ${path.replace(/^\/api\/v1\//, '')}`;
	const given = method === 'GET' ? Object.fromEntries(new URLSearchParams(query ?? '')) : JSON.parse(body);
	if (without.includes(route)) {
		return Object.keys(given).length ? `${route}: has parameters, but the route takes none` : '';
	}
	if (lists.includes(route)) {
		const unknown = Object.keys(given).filter((name) => !ofLists.includes(name));
		return unknown.length ? `${route}: has the unknown parameters ${unknown}` : '';
	}
	const validate = schemas[route];
	if (!validate) return `${route}: no schema, and not on the list of routes without one`;
	return validate(given) ? '' : `${route}: ${JSON.stringify(given).slice(0, 200)}: ${JSON.stringify(validate.errors)}`;
}

// Invalid requests, which the schemas must refuse.
const post = (path, body) => ({ method: 'POST', path: `/api/v1/${path}`, body: JSON.stringify(body) });
const controls = {
	'both targets': post('chat.postMessage', { roomId: 'r', channel: '#c', text: 'x' }),
	'blocks in postMessage': post('chat.postMessage', { roomId: 'r', text: 'x', blocks: [] }),
	'msg in postMessage': post('chat.postMessage', { roomId: 'r', msg: 'x' }),
	'attachments in an update': post('chat.update', { roomId: 'r', msgId: 'm', text: 'x', attachments: [] }),
	'a target beside the message': post('chat.sendMessage', { message: { rid: 'r', msg: 'x' }, roomId: 'r' }),
	'no message': post('chat.sendMessage', { previewUrls: [] }),
	'a room id for im.create': post('im.create', { roomId: 'r' }),
	'an extra parameter of visitors.info': { method: 'GET', path: '/api/v1/livechat/visitors.info', query: 'visitorId=v&roomId=r' },
	'no parameter of visitors.info': { method: 'GET', path: '/api/v1/livechat/visitors.info' },
	'an unknown parameter of livechat/rooms': { method: 'GET', path: '/api/v1/livechat/rooms', query: 'visitorId=v' },
	'a parameter of me': { method: 'GET', path: '/api/v1/me', query: 'x=1' },
	'a filter by visitor with open rooms': { method: 'GET', path: '/api/v1/livechat/rooms', query: 'open=true&visitorId=v' },
	'a page size that is not a number': { method: 'GET', path: '/api/v1/livechat/rooms', query: 'open=true&count=many' },
	'a parameter of integrations.settings': { method: 'GET', path: '/api/v1/livechat/integrations.settings', query: 'count=1' },
	'two parameters of users.info': { method: 'GET', path: '/api/v1/users.info', query: 'userId=u&roomId=r' },
	'both names of a room for rooms.info': { method: 'GET', path: '/api/v1/rooms.info', query: 'roomId=r&roomName=c' },
	'a room by its name for subscriptions.getOne': { method: 'GET', path: '/api/v1/subscriptions.getOne', query: 'roomName=c' },
	'an unknown parameter of livechat/units': { method: 'GET', path: '/api/v1/livechat/units', query: 'unit=u' },
	'an unknown parameter of settings.public': { method: 'GET', path: '/api/v1/settings.public', query: 'id=x' },
	'an unknown route': { method: 'GET', path: '/api/v1/livechat/visitor.info', query: 'visitorId=v' },
};
const faults = [];
for (const [name, request] of Object.entries(controls)) {
	if (!faultOf(request)) faults.push(`control passed: ${name}`);
}
const passes = faultOf(post('chat.postMessage', { roomId: 'r', text: 'x', parseUrls: false }));
if (passes) faults.push(`control failed: ${passes}`);

const lines = readFileSync(process.argv[2], 'utf8').split('\n').filter(Boolean);
const seen = {};
for (const line of lines) {
	const request = JSON.parse(line);
	const route = `${request.method} ${request.path.replace(/^\/api\/v1\//, '')}`;
	seen[route] = (seen[route] ?? 0) + 1;
	const fault = faultOf(request);
	if (fault) faults.push(fault);
}
for (const route of [...Object.keys(schemas).filter((r) => r !== 'POST chat.postMessage'), ...without, ...lists]) {
	if (!seen[route]) faults.push(`never recorded: ${route}`);
}
console.table(seen);
if (faults.length) {
	console.error(faults.join('\n'));
	process.exit(1);
}
console.log(`${lines.length} requests are valid; ${Object.keys(controls).length} invalid ones were refused`);
