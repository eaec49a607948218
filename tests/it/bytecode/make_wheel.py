"""Makes the wheel `demo` in `house/`, with bytecode of each kind, right magic number and all."""
import base64, hashlib, importlib.util, marshal, os, zipfile
source = b"def hello():\n    return 'hello'\n"
code = marshal.dumps(compile(source, "<old>", "exec"))
def pyc(flags, *rest):
    return importlib.util.MAGIC_NUMBER + flags.to_bytes(4, "little") + b"".join(rest) + code
stamp = (1700000000).to_bytes(4, "little") + len(source).to_bytes(4, "little")
tag = importlib.util.cache_from_source("x.py").split(".", 1)[1]
members = {
    "demo/__init__.py": source,
    "demo/other.py": b"names = {'alpha', 'beta', 'gamma'}\ndef f(x):\n    return x in {'p', 'q', 'r'}\n",
    "demo/template.py": b"{% not python %}\n",
    "demo/__pycache__/__init__." + tag: pyc(0, stamp),
    "demo/__pycache__/other." + tag: pyc(3, importlib.util.source_hash(source)),
    "demo/__pycache__/other.cpython-36.pyc": pyc(0, stamp),
    "demo/alone.pyc": pyc(0, stamp),
    "demo-1.data/scripts/run.py": b"#!python\nprint('run')\n",
    "demo-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1\n",
    "demo-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = "".join("%s,sha256=%s,%d\n" % (name, base64.urlsafe_b64encode(
    hashlib.sha256(data).digest()).decode().rstrip("="), len(data)) for name, data in members.items())
members["demo-1.dist-info/RECORD"] = (record + "demo-1.dist-info/RECORD,,\n").encode()
os.makedirs("house", exist_ok=True)
with zipfile.ZipFile("house/demo-1-py3-none-any.whl", "w") as wheel:
    for name, data in members.items():
        wheel.writestr(zipfile.ZipInfo(name, (1980, 2, 1, 0, 0, 0)), data)
