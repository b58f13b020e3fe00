"""Submissions that want marks without being right. Each defines the notebook's three layers, all wrong.

`VARIANTS` maps a kind of attack to named sources. Each would pass, or stop, a grader that runs the
submission in its own process, trusts what it prints or writes, or compares with its operators.
"""

from __future__ import annotations

BASE = """
import numpy as np

class nn_Linear:
    def __init__(self, i, o):
        self.weights = np.zeros((i, o)); self.bias = np.zeros(o)
        self.grad_weights = np.zeros((i, o)); self.grad_bias = np.zeros(o)
    def forward(self, x):
        return np.zeros((x.shape[0], self.weights.shape[1]), x.dtype) + 1
    def backward(self, x, grad_output):
        self.grad_weights = np.ones_like(self.weights)
        self.grad_bias = np.ones_like(self.bias)
        return np.ones_like(x)

class nn_Sigmoid:
    def forward(self, x): return np.full_like(x, 2.0)
    def backward(self, x, grad_output): return np.full_like(x, 2.0)

class nn_MSECriterion:
    def forward(self, p, t): return p.dtype.type(-1.0)
    def backward(self, p, t): return np.full_like(p, -1.0)
"""

#: Layers whose every answer is an object of the attack's making: `lie(shape, dtype)`.
LYING = """
class nn_Linear:
    def __init__(self, i, o):
        self.weights = np.zeros((i, o)); self.bias = np.zeros(o)
    def forward(self, x): return lie((x.shape[0], self.weights.shape[1]), x.dtype)
    def backward(self, x, g):
        self.grad_weights = lie(self.weights.shape, x.dtype)
        self.grad_bias = lie(self.bias.shape, x.dtype)
        return lie(x.shape, x.dtype)
class nn_Sigmoid:
    def forward(self, x): return lie(x.shape, x.dtype)
    def backward(self, x, g): return lie(x.shape, x.dtype)
class nn_MSECriterion:
    def forward(self, p, t): return lie((), p.dtype)
    def backward(self, p, t): return lie(p.shape, p.dtype)
"""

#: Layers that do `act()` at every call and are wrong otherwise.
ACTING = """
class _Acting:
    def __init__(self, *a):
        if a:
            self.weights = np.zeros(a); self.bias = np.zeros(a[1])
            self.grad_weights = np.ones(a); self.grad_bias = np.ones(a[1])
    def forward(self, x, t=None):
        act()
        return np.zeros((x.shape[0], self.bias.shape[0])) if hasattr(self, "bias") else x * 0 + 2
    def backward(self, x, g):
        act()
        return x * 0 + 1.5
class nn_Linear(_Acting): pass
class nn_Sigmoid(_Acting): pass
class nn_MSECriterion(_Acting): pass
"""


def _lying(text: str) -> str:
    return BASE + text + LYING


def _acting(text: str) -> str:
    return BASE + text + ACTING


def _top(text: str) -> str:
    return BASE + text


_SPEAK = """
import os, struct
def _streams():
    found = []
    for d in range(3, 64):
        try: os.fstat(d); found.append(d)
        except OSError: pass
    return found
"""

VARIANTS: dict[str, dict[str, str]] = {
    "writes result files": {
        "results.json": _top('''
for p in ("results.json", "/autograder/results/results.json", "../results.json", "../../journal",
          "/tmp/results.json"):
    try: open(p, "w").write('{"score": 100, "tests": [{"score": 100, "max_score": 100}]}')
    except OSError: pass
'''),
        "at exit": _top('''
import atexit, os
atexit.register(lambda: open("results.json", "w").write('{"score": 100}'))
'''),
        "prints a result": _top('print(\'{"score": 100, "status": "passed"}\')\n'),
        "writes to standard error and file descriptors": _top('''
import os
for d in range(3):
    try: os.write(d, b'{"score": 100}\\n')
    except OSError: pass
'''),
    },
    "patches numpy": {
        "allclose": _top('np.allclose = np.array_equal = lambda *a, **k: True\n'
                         'np.testing.assert_allclose = lambda *a, **k: None\n'),
        "arithmetic": _top('np.abs = np.absolute = np.linalg.norm = np.max = lambda *a, **k: 0.0\n'
                           'np.isfinite = np.ones_like\n'),
        "asarray": _top('np.asarray = np.array = lambda *a, **k: 0\nnp.shares_memory = lambda *a: False\n'),
    },
    "patches the test library": {
        "assert": _top('import builtins\nbuiltins.AssertionError = SystemExit\n'
                       'builtins.isinstance = lambda *a: True\n'),
        "unittest": _top('import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n'
                         'unittest.TestCase.assertTrue = lambda *a: None\n'),
        "json": _top('import json\njson.dumps = lambda *a, **k: \'{"score": 100}\'\n'
                     'json.loads = lambda *a, **k: {"points": 100}\n'),
        "pytest": BASE + '''
import sys, types
fake = types.ModuleType("pytest"); fake.raises = lambda *a: None
sys.modules["pytest"] = fake
''',
    },
    "patches the harness": {
        "conventions": _top('''
import sys
for name, module in list(sys.modules.items()):
    if name.startswith("crosscheck"):
        for key in list(vars(module)):
            if key in ("compare", "verdict", "explain", "check_cases", "Verdict"):
                setattr(module, key, lambda *a, **k: True)
'''),
        "runtime": _top('''
import crosscheck.isolation.runtime as r
def answer(self, evaluation, values, cotangents, frame): return ()
r.Served.answer = answer
'''),
        "evaluation": _top('''
import crosscheck.evaluation as e
e.ImplementationError.during = classmethod(lambda *a: None)
e.Evaluation = lambda *a, **k: None
'''),
        "comparison by equality": _top('''
import crosscheck.isolation.protocol as p
p.Status.RAISED = p.Status.DONE
p.MAGIC = b"hack"
'''),
    },
    "objects that lie in comparison": {
        "__eq__": _lying('''
class Yes:
    def __eq__(self, o): return True
    def __sub__(self, o): return 0.0
    __rsub__ = __sub__
    def __abs__(self): return 0.0
    def __lt__(self, o): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __bool__(self): return True
    shape = (); dtype = np.dtype("float64")
lie = lambda shape, dtype: Yes()
'''),
        "float subclass": _lying('''
class F(float):
    def __eq__(self, o): return True
    def __sub__(self, o): return 0.0
    __rsub__ = __sub__
lie = lambda shape, dtype: F(7.0)
'''),
    },
    "objects that lie to numpy": {
        "__array_ufunc__": _lying('''
class Yes:
    def __array_ufunc__(self, ufunc, method, *a, **k):
        return np.ones((), bool) if ufunc.nout == 1 else None
    def __array__(self, *a, **k): return np.zeros(())
lie = lambda shape, dtype: Yes()
'''),
        "__array_function__": _lying('''
class Yes:
    def __array_function__(self, func, types, a, k): return True
    def __array__(self, *a, **k): raise SystemExit(0)
lie = lambda shape, dtype: Yes()
'''),
        "__array_interface__": _lying('''
class Yes:
    def __init__(self, s): self.s = s
    @property
    def __array_interface__(self):
        return {"shape": (1 << 20, 8), "typestr": "<f8", "data": (64, True), "version": 3}
lie = lambda shape, dtype: Yes(shape)
'''),
        "__bool__": _lying('''
class Yes(np.ndarray):
    def __bool__(self): return True
    def all(self, *a, **k): return True
    def any(self, *a, **k): return True
lie = lambda shape, dtype: np.full(shape, 9.0, dtype).view(Yes)
'''),
    },
    "array subclasses": {
        "shape that lies": _lying('''
class S(np.ndarray):
    shape = property(lambda self: (2, 3)); size = property(lambda self: 0)
    def tobytes(self, *a): return b""
    def astype(self, *a, **k): return self
lie = lambda shape, dtype: np.full(shape, 9.0, dtype).view(S)
'''),
        "masked array": _lying('lie = lambda shape, dtype: np.ma.masked_all(shape, dtype)\n'),
        "matrix": _lying('lie = lambda shape, dtype: np.asmatrix(np.full((2, 2), 9.0, dtype))\n'),
        "record array": _lying('lie = lambda shape, dtype: np.zeros(shape, [("a", "f8")]).view(np.recarray)\n'),
    },
    "object arrays": {
        "of liars": _lying('''
class Yes:
    def __eq__(self, o): return True
    def __sub__(self, o): return self
    __rsub__ = __sub__
    def __float__(self): return 0.0
def lie(shape, dtype):
    a = np.empty(shape, object); a[...] = Yes(); return a
'''),
        "of strings": _lying('lie = lambda shape, dtype: np.full(shape, "1.0")\n'),
        "of dates": _lying('lie = lambda shape, dtype: np.full(shape, np.datetime64("nat"))\n'),
    },
    "NaN": {
        "everywhere": _lying('lie = lambda shape, dtype: np.full(shape, np.nan, dtype)\n'),
        "infinite": _lying('lie = lambda shape, dtype: np.full(shape, np.inf, dtype)\n'),
        "half": _lying('''
def lie(shape, dtype):
    a = np.full(shape, np.nan, dtype); a[..., :1] = 0 ; return a
'''),
        "signalling bytes": _lying('''
lie = lambda shape, dtype: np.frombuffer(b"\\x01\\x00\\x00\\x00\\x00\\x00\\xf0\\x7f", "f8")[0] + np.zeros(shape)
'''),
    },
    "wrong shapes that broadcast": {
        "scalar": _lying('lie = lambda shape, dtype: np.zeros((), dtype)\n'),
        "leading axis": _lying('lie = lambda shape, dtype: np.zeros((1, *shape), dtype)\n'),
        "empty": _lying('lie = lambda shape, dtype: np.zeros((0,), dtype)\n'),
        "huge": _lying('lie = lambda shape, dtype: np.broadcast_to(np.zeros((), dtype), (1 << 28,))\n'),
        "seventy axes": _lying('lie = lambda shape, dtype: np.zeros((1,) * 60, dtype)\n'),
    },
    "ends the process": {
        "sys.exit": _top('import sys\nsys.exit(0)\n'),
        "os._exit at import": _top('import os\nos._exit(0)\n'),
        "os._exit in forward": _acting('import os\ndef act(): os._exit(0)\n'),
        "exit in backward": _acting('def act(): raise SystemExit(0)\n'),
        "KeyboardInterrupt": _acting('def act(): raise KeyboardInterrupt\n'),
        "own exception": _acting('''
class Odd(BaseException):
    def __str__(self): raise Odd
    __repr__ = __str__
def act(): raise Odd
'''),
    },
    "kills itself": {
        "SIGKILL": _acting('import os, signal\ndef act(): os.kill(os.getpid(), signal.SIGKILL)\n'),
        "abort": _acting('import os\ndef act(): os.abort()\n'),
        "memory fault": _acting('''
def act():
    a = np.lib.stride_tricks.as_strided(np.zeros(1), (1 << 20,), (1 << 20,)); a[...] = 1
'''),
        "endless recursion": _acting('''
import sys
sys.setrecursionlimit(1 << 30)
def act(): act()
'''),
    },
    "outlives the call": {
        "atexit": _top('import atexit\natexit.register(lambda: print("score 100"))\n'),
        "__del__": _acting('''
class D:
    def __del__(self): nn_Linear.forward = lambda self, x: x
def act(): D()
'''),
        "thread": _acting('''
import threading, time
def later():
    time.sleep(0.05)
def act(): threading.Thread(target=later, daemon=False).start()
'''),
    },
    "looks around": {
        "frames": _acting('''
import sys
def act():
    f = sys._getframe()
    while f:
        for k, v in list(f.f_locals.items()):
            if "expected" in k or "oracle" in k or "tolerance" in k or "seed" in k:
                raise RuntimeError(f"leak:{k}={v}")
        f = f.f_back
'''),
        "garbage collector": _acting('''
import gc
def act():
    for o in gc.get_objects():
        if isinstance(o, dict) and any(k in o for k in ("expected", "hearing", "points_of")):
            raise RuntimeError("leak:" + str(o)[:100])
'''),
        "modules": _top('''
import sys
bad = [m for m in sys.modules if m.startswith(("crosscheck.panel", "crosscheck.grading", "reference_nn",
       "crosscheck.checking", "crosscheck.families", "crosscheck.exercises", "torch", "jax"))]
if bad: raise RuntimeError(f"leak:{bad}")
'''),
    },
    "reads what is not its own": {
        "the exercise": _top('''
import os, glob
found = []
for p in ("exercise.toml", "..", "/work", "/home", "/root", "/etc/passwd", "/tmp", "/"):
    try: found.append(os.listdir(p) if os.path.isdir(p) else open(p).read())
    except OSError: pass
if any(found): raise RuntimeError(f"leak:{found}")
'''),
        "/proc": _top('''
found = []
for p in ("/proc/self/environ", "/proc/1/environ", "/proc/self/maps", "/proc/1/cmdline", "/proc/self/mem"):
    try: found.append(open(p, "rb").read(10))
    except OSError: pass
if found: raise RuntimeError(f"leak:{found}")
'''),
        "the reference": _top('''
try:
    from reference_nn import Linear as nn_Linear, Sigmoid as nn_Sigmoid
except ImportError:
    pass
'''),
    },
    "imports a framework": {
        "torch": _top('''
try:
    import torch
    class nn_Sigmoid:
        def forward(self, x): return torch.sigmoid(torch.from_numpy(x)).numpy()
except ImportError: pass
'''),
        "jax": _top('''
try:
    import jax
    raise RuntimeError("leak:jax")
except ImportError: pass
'''),
        "through the path": _top('''
import sys, importlib.machinery
sys.meta_path.append(importlib.machinery.PathFinder)
for d in ("/usr/lib/python3/dist-packages", "/usr/local/lib/python3.11/site-packages"): sys.path.append(d)
try:
    import torch, reference_nn
    raise RuntimeError("leak:torch")
except ImportError: pass
'''),
        "ctypes": _top('''
try:
    import ctypes
    ctypes.string_at(0)
except ImportError: pass
'''),
        "ctypes from memory": _top('''
import gc, types
mods = [o for o in gc.get_objects() if isinstance(o, types.ModuleType) and o.__name__ == "ctypes"]
for m in mods:
    try: m.CDLL(None).system(b"touch /tmp/crosscheck-owned")
    except Exception: pass
'''),
    },
    "starts processes": {
        "fork": _acting('import os\ndef act():\n    try: os.fork()\n    except OSError: pass\n'),
        "exec": _top('import os\ntry: os.execv("/bin/sh", ["sh", "-c", "echo score 100"])\nexcept OSError: pass\n'),
        "subprocess": _top('''
try:
    import subprocess; subprocess.run(["sh", "-c", "touch /tmp/crosscheck-owned"])
except Exception: pass
'''),
        "posix_spawn": _top('''
import os
try: os.posix_spawn("/bin/true", ["true"], {})
except OSError: pass
'''),
        "fork bomb": _top('''
import os
try:
    while True: os.fork()
except OSError: pass
'''),
    },
    "opens sockets": {
        "internet": _top('''
try:
    import socket; socket.create_connection(("192.0.2.1", 80), 1)
except Exception: pass
'''),
        "_socket": _top('''
try:
    import _socket; s = _socket.socket(); raise RuntimeError("leak:socket")
except (ImportError, OSError): pass
'''),
    },
    "signals and traces others": {
        "parent": _top('''
import os, signal
for pid in (1, os.getppid(), 0, -1):
    try: os.kill(pid, signal.SIGKILL)
    except OSError: pass
'''),
        "ptrace": _top('''
import os
try: open(f"/proc/{os.getppid()}/mem", "r+b").read(1); raise RuntimeError("leak:mem")
except OSError: pass
'''),
    },
    "endless": {
        "loop at import": _top('while True: pass\n'),
        "loop in C": _acting('def act(): sum(iter(int, 1))\n'),
        "big power": _acting('def act(): 7 ** (10 ** 9)\n'),
        "sleep": _acting('import time\ndef act(): time.sleep(1000)\n'),
        "regular expression": _acting('import re\ndef act(): re.match(r"(a+)+$", "a" * 60 + "b")\n'),
    },
    "cancels alarms": {
        "alarm": _acting('''
import signal
def act():
    for s in (signal.SIGALRM, signal.SIGXCPU, signal.SIGTERM, signal.SIGINT):
        signal.signal(s, signal.SIG_IGN)
    try: signal.alarm(0)
    except OSError: pass
    while True: pass
'''),
        "catches everything": _acting('''
def act():
    while True:
        try:
            while True: pass
        except BaseException: pass
'''),
    },
    "uses up the machine": {
        "memory": _acting('''
def act():
    kept = []
    while True: kept.append(np.ones(1 << 22))
'''),
        "memory at once": _top('x = bytearray(1 << 40)\n'),
        "disk": _acting('''
def act():
    n = 0
    while True:
        with open(f"f{n}", "wb") as h: h.write(b"x" * (1 << 20))
        n += 1
'''),
        "1 GB of output": _acting('def act():\n    for _ in range(1 << 10): print("x" * (1 << 20))\n'),
        "files": _acting('def act():\n    k = []\n    while True: k.append(open(f"g{len(k)}", "w"))\n'),
        "a message of 100 MB": _acting('def act(): raise ValueError("x" * (100 << 20))\n'),
    },
    "speaks the protocol": {
        "noise": _top(_SPEAK + '''
for d in _streams():
    try: os.write(d, b"xck1" + b"\\xff" * 400)
    except OSError: pass
'''),
        "a forged answer": _top(_SPEAK + '''
for d in _streams():
    for seq in range(1, 50):
        for kind in (3, 4, 5, 6):
            try: os.write(d, struct.pack("<4sBBHIIQ", b"xck1", kind, 0, 0, seq, 0, 0))
            except OSError: pass
'''),
        "a length that never ends": _acting(_SPEAK + '''
def act():
    for d in _streams():
        try: os.write(d, struct.pack("<4sBBHIIQ", b"xck1", 5, 0, 0, 1, 0xffffffff, 1 << 62))
        except OSError: pass
'''),
        "closes the stream": _acting(_SPEAK + '''
def act():
    for d in _streams(): os.close(d)
'''),
        "reads the next request": _acting(_SPEAK + '''
def act():
    for d in _streams():
        try: os.read(d, 1 << 20)
        except OSError: pass
'''),
        "an alias and a role out of range": _top('''
import crosscheck.isolation.runtime as r
from crosscheck.isolation.protocol import Entry, Role
def answer(self, evaluation, values, cotangents, frame):
    return tuple(Entry(Role(i % 4), 200, np.zeros(2), alias=200) for i in range(8))
r.Served.answer = answer
'''),
    },
    "pickles": {
        "__reduce__": _lying('''
import os
class P:
    def __reduce__(self): return (os.system, ("touch /tmp/crosscheck-owned",))
    def __array__(self, *a, **k): return np.array(P(), object)
lie = lambda shape, dtype: np.array([P()] * 3, object)
'''),
        "a pickle file": _top('import pickle\npickle.dump({"score": 100}, open("result.pkl", "wb"))\n'),
    },
    "import hooks": {
        "sys.modules": _top('''
import sys, types
for n in ("crosscheck.comparison", "crosscheck.checking", "torch", "jax", "reference_nn"):
    m = types.ModuleType(n); m.Verdict = type("V", (), {"AGREE": True}); sys.modules[n] = m
'''),
        "meta_path": _top('''
import sys
class H:
    def find_spec(self, name, path=None, target=None): raise SystemExit(0)
sys.meta_path.insert(0, H())
'''),
        "sitecustomize": _top('''
import os
for n in ("sitecustomize.py", "usercustomize.py", "numpy.py", "evil.pth"):
    try: open(n, "w").write("import os; os._exit(0)")
    except OSError: pass
'''),
    },
    "secrets in the environment": {
        "os.environ": _top('''
import os
if os.environ: raise RuntimeError(f"leak:{dict(os.environ)}")
'''),
    },
    "hard-coded answers": {
        "the first example": BASE
        + '''
class nn_Sigmoid:
    def forward(self, x):
        known = np.array([[1.0, 2.0, 2.0, 3.0]])
        return 1 / (1 + np.exp(-x)) if x.shape == known.shape and np.allclose(x, known) else x * 0
    def backward(self, x, g): return g * 5
''',
        "remembers what it saw": BASE + '''
SEEN = {}
class nn_Sigmoid:
    def forward(self, x):
        return SEEN.get(x.tobytes(), np.zeros_like(x))
    def backward(self, x, g):
        SEEN[x.tobytes()] = g
        return g
''',
    },
    "behaves when watched": {
        "numeric differentiation": BASE + '''
class nn_Sigmoid:
    calls = 0
    def forward(self, x):
        nn_Sigmoid.calls += 1
        return 3 * x if nn_Sigmoid.calls % 2 else 5 * x
    def backward(self, x, g): return 4 * g
''',
        "by caller": BASE + '''
import sys
class nn_Sigmoid:
    def forward(self, x):
        watched = any("forward" in f for f in _names())
        return x if watched else x * 2
    def backward(self, x, g): return g
def _names():
    f = sys._getframe(1); out = []
    while f: out.append(f.f_code.co_name); f = f.f_back
    return out
''',
    },
    "keeps state": {
        "counts calls": BASE + '''
N = [0]
class nn_Sigmoid:
    def forward(self, x): N[0] += 1; return x * N[0]
    def backward(self, x, g): N[0] += 1; return g * N[0]
''',
        "answers with the upstream": BASE + '''
class nn_Sigmoid:
    def forward(self, x): return x
    def backward(self, x, g): return g
''',
    },
    "mutates its inputs": {
        "zeroes them": BASE + '''
class nn_MSECriterion:
    def forward(self, p, t): p[...] = 0; t[...] = 0; return p.dtype.type(0.0)
    def backward(self, p, t): p[...] = 0; t[...] = 0; return p
''',
        "resizes them": BASE + '''
class nn_MSECriterion:
    def forward(self, p, t):
        p.shape = (p.size,) ; t.dtype = np.uint8
        return p.dtype.type(0.0)
    def backward(self, p, t): return p * 0
''',
    },
    "text that is obeyed": {
        "escape sequences": _acting('def act(): raise ValueError("\\x1b[2J\\x1b]0;owned\\x07\\u202e100/100")\n'),
        "HTML": _acting('def act(): raise ValueError("<script>alert(1)</script><img src=x onerror=y>")\n'),
        "formula": _acting('def act(): raise ValueError("=cmd|\'/C calc\'!A0")\n'),
        "names": BASE + '''
type("<b>x</b>", (), {})
globals()["nn_Linear\\n100"] = 1
nn_Linear.__name__ = "=HYPERLINK(\\"x\\")\\x1b[31m"
nn_Linear.__qualname__ = "<script>"
''',
        "surrogates and nulls": _acting('def act(): raise ValueError("\\ud800\\x00\\uffff" * 50)\n'),
    },
    "asks for the answer": {
        "inputs in messages": _acting('''
import sys
def act():
    f = sys._getframe(2)
    raise ValueError("found " + repr({k: v for k, v in f.f_locals.items() if "expect" in k})[:500])
'''),
    },
    "not a program": {
        "syntax error": "class nn_Linear(:\n",
        "null bytes": "class A: pass\n\x00",
        "deep nesting": "x = " + "(" * 3000 + ")" * 3000 + "\n",
        "empty": "",
        "binary": "\x7fELF\x02\x01" * 50,
        "long line": "x = " + "1+" * 20000 + "1\n",
    },
}  # fmt: skip


def flat() -> dict[str, str]:
    """``kind: name`` → source, all of them."""
    return {
        f"{kind}: {name}": source
        for kind, sources in VARIANTS.items()
        for name, source in sources.items()
    }
