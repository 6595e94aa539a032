// SPDX-License-Identifier: GPL-3.0-or-later
// What exists here, who may ask, and how much one request may ask for. Pure functions.

import envelope from './envelope.js';
import errors from './errors.js';
import fields from './fields.js';

// Method and exact path, byte by byte: `//v1/models` or `/v1/x/../models` is another path.
const ENDPOINTS = {
    'GET /v1/models': {body: false},
    'POST /v1/chat/completions': {body: true, generates: true, places: envelope.compile(fields.CHAT)},
    'POST /v1/completions': {body: true, generates: true, places: envelope.compile(fields.COMPLETION)},
    'POST /v1/embeddings': {body: true, generates: false, places: envelope.compile(fields.EMBEDDING)},
};

// The engines know one limit by several names. llama.cpp prefers its own (n_predict, n_cmpl) to OpenAI's:
// a client that sends both would escape a limit on one.
const TOKENS = ['max_tokens', 'max_completion_tokens', 'n_predict'];
const COPIES = ['n', 'best_of', 'n_cmpl'];

const WINDOW = 60;    // seconds

function endpoint(method, path) {
    const found = ENDPOINTS[method + ' ' + path];
    if (!found) {
        throw errors.refusal('unknown_url');
    }
    return found;
}

function bearer(authorization) {
    const found = /^Bearer ([\x21-\x7e]+)$/.exec(authorization || '');
    if (!found) {
        throw errors.refusal('invalid_api_key', {headers: {'WWW-Authenticate': 'Bearer'}});
    }
    return found[1];
}

// `keys` is indexed by digest, so how long the look-up takes says nothing about a key.
function holder(keys, digest) {
    const key = keys[digest];
    if (!key) {
        throw errors.refusal('invalid_api_key', {headers: {'WWW-Authenticate': 'Bearer'}});
    }
    return key;
}

// The fixed window that a moment (milliseconds) falls in: its number, and the seconds until the next.
function minute(now) {
    const seconds = Math.floor(now / 1000);
    return {number: Math.floor(seconds / WINDOW), rest: WINDOW - seconds % WINDOW};
}

function admit(key, spent, rest) {
    if (spent > key.requests_per_minute) {
        throw errors.refusal('rate_limit_exceeded', {headers: {'Retry-After': String(rest)}});
    }
}

function mediaType(contentType, contentEncoding) {
    if (contentEncoding || !/^application\/json\s*(;|$)/i.test(contentType || '')) {
        throw errors.refusal('unsupported_media_type');
    }
}

function model(body, names) {
    if (names.indexOf(body.model) < 0) {
        throw errors.refusal('model_not_found', {param: 'model'});
    }
}

function given(body, name) {
    return body[name] !== undefined && body[name] !== null;
}

function positive(body, name) {
    const value = body[name];
    if (typeof value !== 'number' || value < 1 || Math.floor(value) !== value) {
        throw errors.refusal('invalid_value', {message: name + ' must be a whole number from 1.', param: name});
    }
    return value;
}

function copies(body, most) {
    COPIES.filter(name => given(body, name)).forEach(name => {
        if (positive(body, name) > most) {
            throw errors.refusal('invalid_value', {message: name + ' must not exceed ' + most + '.', param: name});
        }
    });
    // A list of prompts is answered one by one, but a list of numbers is a single prompt in tokens.
    if (Array.isArray(body.prompt) && body.prompt.length > most && typeof body.prompt[0] !== 'number') {
        throw errors.refusal('invalid_value', {message: 'At most ' + most + ' prompts at once.', param: 'prompt'});
    }
}

// Bounds what the model may be asked to generate. Changes `body`.
function bound(body, key, limits) {
    copies(body, limits.max_n);
    TOKENS.filter(name => given(body, name)).forEach(name => {
        body[name] = Math.min(positive(body, name), key.max_tokens);
    });
    if (!given(body, 'max_tokens') && !given(body, 'max_completion_tokens')) {
        body.max_tokens = Math.min(limits.default_max_tokens, key.max_tokens);
    }
}

export default {endpoint, bearer, holder, minute, admit, mediaType, model, bound};
