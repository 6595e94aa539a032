# SPDX-License-Identifier: GPL-3.0-or-later
"""The official `openai` client, unchanged, asking from an address of the client zone.

Prints one JSON line for each event, as it happens; what it needs comes as JSON on its standard input.
"""

import json
import ssl
import sys

import httpx2
import openai

request = json.load(sys.stdin)
context = ssl.create_default_context(cafile=request["ca"])
transport = httpx2.HTTPTransport(local_address=request["source"], verify=context)
client = openai.OpenAI(
    base_url=request["base_url"],
    api_key=request["key"],
    max_retries=0,
    http_client=httpx2.Client(transport=transport, timeout=120),
)


def say(**event: object) -> None:
    print(json.dumps(event), flush=True)


asked = {
    "model": request["model"],
    "messages": [{"role": "user", "content": request.get("question", "What is a bastion host?")}],
    "max_tokens": request.get("max_tokens", 32),
    **request.get("options", {}),
}
try:
    if request.get("stream"):
        for chunk in client.chat.completions.create(stream=True, **asked):
            if chunk.choices and chunk.choices[0].delta.content:
                say(event="token", text=chunk.choices[0].delta.content)
        say(event="end")
    elif request.get("list"):
        say(event="models", names=[model.id for model in client.models.list()])
    else:
        answer = client.chat.completions.create(**asked)
        usage = answer.usage
        say(
            event="answer",
            text=answer.choices[0].message.content,
            tokens=usage.completion_tokens if usage else None,
            reason=answer.choices[0].finish_reason,
        )
except openai.APIStatusError as error:
    say(event="refused", status=error.status_code, body=error.body)
