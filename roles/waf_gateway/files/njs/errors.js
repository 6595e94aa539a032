// SPDX-License-Identifier: GPL-3.0-or-later
// What a client is told when the answer is no, in the form that OpenAI's clients read.

const REFUSALS = {
    bad_request: [400, 'invalid_request_error', 'The request is not well-formed HTTP, or its header is too long.'],
    invalid_json: [400, 'invalid_request_error', 'The body is not a JSON object.'],
    invalid_value: [400, 'invalid_request_error', 'A field has a value that is not accepted.'],
    invalid_api_key: [401, 'invalid_request_error', 'Send a valid key: "Authorization: Bearer KEY".'],
    request_blocked: [403, 'invalid_request_error', 'The request looks like an attack, outside of its prompt.'],
    unknown_url: [404, 'invalid_request_error', 'This method and path do not exist here.'],
    model_not_found: [404, 'invalid_request_error', 'GET /v1/models names the models that exist here.'],
    body_too_large: [413, 'invalid_request_error', 'The body is longer than this gateway accepts.'],
    unsupported_media_type: [415, 'invalid_request_error', 'Send application/json, not compressed.'],
    rate_limit_exceeded: [429, 'requests', 'This key has spent its requests of this minute.'],
    internal_error: [500, 'server_error', 'The gateway failed.'],
    model_unavailable: [502, 'server_error', 'The model does not answer.'],
    inspection_unavailable: [503, 'server_error', 'The request could not be inspected, so it was not passed on.'],
};

// What nginx refuses by itself, before or after our code; 494 to 497 are its own names for kinds of 400.
const BY_STATUS = {
    400: 'bad_request', 404: 'unknown_url', 405: 'unknown_url', 413: 'body_too_large', 414: 'bad_request',
    494: 'bad_request', 495: 'bad_request', 496: 'bad_request', 497: 'bad_request',
    502: 'model_unavailable', 503: 'model_unavailable', 504: 'model_unavailable',
};

// To be thrown. `more` may hold message, param, and headers for the answer.
function refusal(code, more) {
    const error = new Error(code);
    error.code = code;
    error.more = more || {};
    return error;
}

function reply(r, error, status) {
    if (!REFUSALS[error.code]) {
        r.variables.gateway_fault = String(error.stack || error);    // ours: for the operator, in the access log
        error = refusal('internal_error');
    }
    const known = REFUSALS[error.code], more = error.more;
    r.variables.gateway_refusal = error.code;
    r.headersOut['Content-Type'] = 'application/json';
    Object.keys(more.headers || {}).forEach(name => { r.headersOut[name] = more.headers[name]; });
    r.return(status || known[0], JSON.stringify({error: {
        message: more.message || known[2], type: known[1], param: more.param || null, code: error.code,
    }}) + '\n');
}

// The error page of nginx itself.
function page(r) {
    const status = Number(r.variables.status), code = BY_STATUS[status] || 'internal_error';
    reply(r, refusal(code), REFUSALS[code][0] === 400 ? 400 : status);
}

export default {refusal, reply, page};
