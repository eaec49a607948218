#!/usr/bin/env python3
"""Records the terminal session of README.md: runs the commands in a new folder, and draws docs/session.svg.

    docs/session.py [PROGRAM]      # a zipwright; by default the one on PATH
"""

import os
import subprocess
import sys
import tempfile
from html import escape
from pathlib import Path

HANDLER = 'import idna\n\n\ndef handler(event, context):\n    return {"domain": idna.encode(event["domain"]).decode()}\n'
COMMANDS = [
    "ls",
    "zipwright init",
    "zipwright --silent 2> /dev/null; zipwright digest package",
    """zipwright invoke --local --payload '{"domain": "größe.example"}' 2> log""",
    "sed -i 's/domain\":/ascii\":/' lambda_handler.py",
    "zipwright",
    "zipwright",
]
WIDTH, LINE, CHAR = 100, 18, 7.8


def main():
    program = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
    path = os.environ["PATH"]
    env = os.environ | {"PATH": f"{program.parent}:{path}" if program else path, "LANG": "C.UTF-8"}
    lines = []
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "hello"
        folder.mkdir()
        (folder / "lambda_handler.py").write_text(HANDLER)
        (folder / "requirements.txt").write_text("idna==3.10\n")
        for command in COMMANDS:
            done = subprocess.run(["sh", "-c", f"exec 2>&1; {command}"], cwd=folder, env=env, text=True, stdout=subprocess.PIPE)
            if done.returncode != 0:
                sys.exit(f"{command} failed:\n{done.stdout}")
            lines.append(("command", command))
            for line in done.stdout.splitlines():
                while line:
                    lines.append(("output", line[:WIDTH]))
                    line = line[WIDTH:]
    texts = []
    for number, (kind, line) in enumerate(lines):
        prompt = '<tspan fill="#7ee787">$ </tspan>' if kind == "command" else ""
        color = "#f0f6fc" if kind == "command" else "#9da7b3"
        y = (number + 1) * LINE + 8
        texts.append(f'<text x="14" y="{y}" fill="{color}" xml:space="preserve">{prompt}{escape(line)}</text>')
    width, height = int(WIDTH * CHAR) + 28, len(lines) * LINE + 24
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="monospace" font-size="13">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>\n' + "\n".join(texts) + "\n</svg>\n"
    )
    Path(__file__).with_name("session.svg").write_text(svg, encoding="utf-8")


main()
