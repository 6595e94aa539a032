// SPDX-License-Identifier: GPL-3.0-or-later
// The way of a request, from the client to the model. The globals `keys` and `limits` are preloaded by nginx.conf.

import crypto from 'crypto';

import envelope from './envelope.js';
import errors from './errors.js';
import policy from './policy.js';

function identify(r) {
    const secret = policy.bearer(r.headersIn.Authorization);
    const key = policy.holder(keys, crypto.createHash('sha256').update(secret).digest('hex'));
    r.variables.gateway_key = key.name;
    return key;
}

// The counters outlive a reload; those of past minutes expire by themselves.
function spend(key) {
    const minute = policy.minute(Date.now());
    const spent = ngx.shared.requests.incr(key.name + ' ' + minute.number, 1, 0);
    policy.admit(key, spent, minute.rest);
}

// The subrequest carries the client's own path, query and headers, and the skeleton as body. 418 is what the WAF's last
// rule answers, after all others had their say. Anything but these two means that nobody looked.
async function inspect(r, skeleton) {
    const verdict = await r.subrequest('/_waf', {method: r.method, body: skeleton});
    if (verdict.status === 403) {
        throw errors.refusal('request_blocked');
    }
    if (verdict.status !== 418) {
        throw errors.refusal('inspection_unavailable');
    }
}

function modelNames() {
    return Array.from(limits.models);    // a preloaded array has no methods of its own
}

function listModels(r) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(200, JSON.stringify({
        object: 'list',
        data: modelNames().map(name => ({id: name, object: 'model', created: 0, owned_by: 'stronghold'})),
    }) + '\n');
}

async function serve(r) {
    const endpoint = policy.endpoint(r.method, r.variables.gateway_path);
    const key = identify(r);
    spend(key);
    if (!endpoint.body) {
        await inspect(r, '');
        return listModels(r);
    }
    policy.mediaType(r.headersIn['Content-Type'], r.headersIn['Content-Encoding']);
    const body = envelope.parse(r.requestText);
    await inspect(r, envelope.skeleton(body, endpoint.places));
    policy.model(body, modelNames());
    if (endpoint.generates) {
        policy.bound(body, key, limits);
    }
    r.variables.gateway_body = JSON.stringify(body);    // what was parsed and inspected is what goes on
    return r.internalRedirect('@model');
}

async function handle(r) {
    try {
        await serve(r);
    } catch (error) {
        errors.reply(r, error);
    }
}

export default {handle, page: errors.page};
