// Checks the golden files with Slack's own types, which find unknown fields, missing
// fields and wrong kinds of text, and the manifests with Slack's own schema. Both must
// also refuse examples that are known to be wrong.
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { load } from 'js-yaml';
import Ajv from 'ajv';
import addFormats from 'ajv-formats';
import ts from 'typescript';

const here = import.meta.dirname;
const faults = [];

// 1. The golden files, each as a TypeScript literal.
const sources = new Map();
function add(name, type, value, prefix = '') {
	const file = join(here, `generated-${name}.ts`);
	sources.set(file, `import type { KnownBlock, ModalView, HomeView } from '@slack/types';\n${prefix}export const x: ${type} = ${JSON.stringify(value, null, '\t')};\n`);
	return file;
}
const types = { 'views.open': 'ModalView', 'views.update': 'ModalView', 'views.publish': 'HomeView' };
const golden = join(here, '..', 'golden');
const files = readdirSync(golden).filter((f) => f.endsWith('.json'));
for (const f of files) {
	const { method, args } = JSON.parse(readFileSync(join(golden, f)));
	add(basename(f, '.json'), types[method] ?? 'KnownBlock[]', types[method] ? args.view : args.blocks);
}

const plain = (text) => ({ type: 'plain_text', text });
const wrong = {
	'an unknown field': ['KnownBlock[]', [{ type: 'header', text: plain('x'), colour: 'red' }]],
	'mrkdwn in a header': ['KnownBlock[]', [{ type: 'header', text: { type: 'mrkdwn', text: 'x' } }]],
	'an unknown style': ['KnownBlock[]', [{ type: 'actions', elements: [{ type: 'button', text: plain('x'), style: 'secondary' }] }]],
	'an unknown block': ['KnownBlock[]', [{ type: 'heading', text: plain('x') }]],
	'a dialog without a title': ['ModalView', { type: 'modal', blocks: [] }],
};
const refused = new Map(Object.entries(wrong).map(([name, [type, value]], i) => [add(`wrong${i}`, type, value), name]));

const options = { strict: true, noEmit: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [], skipLibCheck: true };
const host = ts.createCompilerHost(options);
const { readFile, fileExists, getSourceFile } = host;
host.fileExists = (f) => sources.has(f) || fileExists.call(host, f);
host.readFile = (f) => sources.get(f) ?? readFile.call(host, f);
host.getSourceFile = (f, language, ...rest) =>
	sources.has(f) ? ts.createSourceFile(f, sources.get(f), language) : getSourceFile.call(host, f, language, ...rest);
const program = ts.createProgram([...sources.keys()], options, host);
const found = new Set();
for (const d of ts.getPreEmitDiagnostics(program)) {
	const file = d.file?.fileName;
	found.add(file);
	if (!refused.has(file)) faults.push(`${file ? basename(file) : 'tsc'}: ${ts.flattenDiagnosticMessageText(d.messageText, ' ')}`);
}
for (const [file, name] of refused) if (!found.has(file)) faults.push(`the types accept ${name}`);

// 2. The manifests.
const schemaFile = process.argv[2];
const manifests = ['manifest.yaml', 'manifest-socket-mode.yaml'];
const parsed = manifests.map((f) => load(readFileSync(join(here, '../../../../deploy/slack', f), 'utf8')));
if (!schemaFile) {
	console.log('manifests not checked: SLACK_MANIFEST_SCHEMA does not name the schema');
} else {
	const ajv = new Ajv({ strict: false, allErrors: true });
	addFormats(ajv);
	const validate = ajv.compile(JSON.parse(readFileSync(schemaFile)));
	manifests.forEach((f, i) => {
		if (!validate(parsed[i])) faults.push(...validate.errors.map((e) => `${f}: ${e.instancePath} ${e.message}`));
	});
	const broken = {
		'an unknown key': (m) => { m.settings.surprise = true; },
		'a shortcut name of 25 characters': (m) => { m.features.shortcuts[0].name = 'x'.repeat(25); },
		'no name': (m) => { delete m.display_information.name; },
	};
	for (const [name, change] of Object.entries(broken)) {
		const m = structuredClone(parsed[0]);
		change(m);
		if (validate(m)) faults.push(`the schema accepts a manifest with ${name}`);
	}
}

if (faults.length > 0) {
	console.error(faults.join('\n'));
	process.exit(1);
}
console.log(`${files.length} golden files${schemaFile ? ` and ${manifests.length} manifests` : ''} are valid; ${refused.size} invalid examples were refused`);
