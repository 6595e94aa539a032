// SPDX-License-Identifier: GPL-3.0-or-later
// The envelope of a request: its body without the prompt, small whatever the prompt's size. Pure functions.
//
// All keys stay, and every value that fields.js does not name. An array keeps one element of each distinct shape,
// so that 2,000 messages cost no more than the two or three kinds they come in.

import errors from './errors.js';

const PLACEHOLDER = 'x';
const IDENTIFIER = /^[A-Za-z0-9_.-]{1,64}$/;
const MAX_DEPTH = 24;
const MAX_LENGTH = 16384;                // characters: bounds what an inspection can cost
const MAX_INTEGER = 9007199254740991;    // beyond, a number would be another one when written again

function node(deep) {
    return {keys: Object.create(null), element: null, deep: deep, kind: null};
}

const INSPECTED = node(null);            // a place that no path leads to

// The paths of fields.js as a tree. A node is a place in a body.
function compile(fields) {
    const root = node(null);
    Object.keys(fields).forEach(kind => fields[kind].forEach(path => {
        let at = root;
        path.split('.').forEach(step => {
            if (step === '**') {
                at.deep = at;            // from here down, an unknown key leads back to this place
            } else if (step === '[]') {
                at = at.element = at.element || node(at.deep);
            } else {
                at = at.keys[step] = at.keys[step] || node(at.deep);
            }
        });
        at.kind = kind;
    }));
    return root;
}

// Where the value of a key stands.
function under(at, key) {
    return at.keys[key] || at.deep && at.deep.keys[key] || at.deep || INSPECTED;
}

function parse(text) {
    let body;
    try {
        body = JSON.parse(text);
    } catch (e) {
        throw errors.refusal('invalid_json');
    }
    if (body === null || typeof body !== 'object' || Array.isArray(body)) {
        throw errors.refusal('invalid_json');
    }
    return body;
}

function scalar(value, at) {
    if (typeof value === 'string') {
        const hidden = at.kind === 'text' || at.kind === 'identifier' && IDENTIFIER.test(value);
        return hidden ? PLACEHOLDER : value;
    }
    if (typeof value === 'number') {
        if (!(Math.abs(value) <= MAX_INTEGER)) {
            throw errors.refusal('invalid_value', {message: 'A number is out of range.'});
        }
        return at.kind === 'text' ? 0 : value;    // a prompt may come as token numbers
    }
    return value;
}

function shapes(list, at, depth) {
    const place = at.element || at.deep || INSPECTED, seen = Object.create(null), kept = [];
    list.forEach(item => {
        const shape = walk(item, place, depth), key = JSON.stringify(shape);
        if (!seen[key]) {
            seen[key] = true;
            kept.push(shape);
        }
    });
    return kept;
}

function walk(value, at, depth) {
    if (value === null || typeof value !== 'object') {
        return scalar(value, at);
    }
    if (depth === MAX_DEPTH) {
        throw errors.refusal('invalid_value', {message: 'The body is nested too deep.'});
    }
    if (Array.isArray(value)) {
        return shapes(value, at, depth + 1);
    }
    const kept = {};
    Object.keys(value).forEach(key => {
        if (key === '__proto__') {       // kept[key] would set the prototype: the field would go on uninspected
            throw errors.refusal('invalid_value', {message: 'A field must not be called __proto__.'});
        }
        kept[key] = walk(value[key], under(at, key), depth + 1);
    });
    return kept;
}

function skeleton(body, places) {
    const text = JSON.stringify(walk(body, places, 0));
    if (text.length > MAX_LENGTH) {
        throw errors.refusal('invalid_value', {
            message: 'Outside of the prompt, the body is longer than ' + MAX_LENGTH + ' characters.',
        });
    }
    return text;
}

export default {compile, parse, skeleton};
