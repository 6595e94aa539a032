// SPDX-License-Identifier: GPL-3.0-or-later
// Where a prompt lives in each request: the letter in the envelope. Whatever is not named here is inspected.
//
// A path is anchored at the root of the body. `[]` is any element of an array, `**` any depth below. Anchored, because
// a field that is merely *called* content, somewhere else, is no prompt, and would be the place to hide an attack.
//
//   text        free text that people, tools and models write: a placeholder takes its place
//   identifier  made by machines, different in each message: a placeholder only if it has an identifier's form

const CHAT = {
    text: [
        'messages.[].content',
        'messages.[].content.[].text',
        'messages.[].content.[].refusal',
        'messages.[].refusal',
        'messages.[].reasoning_content',
        'messages.[].tool_calls.[].function.arguments',
        'messages.[].function_call.arguments',
        'prediction.content',
        'prediction.content.[].text',
        'stop',
        'stop.[]',
        'tools.[].function.description',
        'tools.[].function.parameters.**.description',
        'functions.[].description',
        'functions.[].parameters.**.description',
        'response_format.json_schema.description',
        'response_format.json_schema.schema.**.description',
    ],
    identifier: [
        'messages.[].tool_call_id',
        'messages.[].tool_calls.[].id',
    ],
};

const COMPLETION = {
    text: ['prompt', 'prompt.[]', 'prompt.[].[]', 'suffix', 'stop', 'stop.[]'],
    identifier: [],
};

const EMBEDDING = {
    text: ['input', 'input.[]', 'input.[].[]'],
    identifier: [],
};

export default {CHAT, COMPLETION, EMBEDDING};
