"""The canonical walk: one text for equal programs, on every version of Python, and another for others."""

from __future__ import annotations

import ast
import textwrap

import pytest

from pipelite.fingerprint.syntax import Walk


class NoNames:
    """Knows no name: every name stays as it is written."""

    def find(self, name):
        return None

    def find_global(self, name):
        return None

    def find_import(self, imported):
        return None

    def find_member(self, target, name):
        return None

    def is_whole(self, target):
        return False

    def is_ignored(self, target):
        return False


def shape(source):
    walk = Walk(NoNames())
    walk.statements(ast.parse(textwrap.dedent(source)).body)
    return walk.text().shape


#: Digests that hold on every version; a change of one is a change of the rule: raise `SCHEMA` in key.py with it.
GOLDEN = {
    "x = 1": "d51ef31cee03164ad4dafe1e61c1ba0dcb2d2461a2159af0d1f893303544ec9e",
    "def f(a, /, b: int = 2, *args, c=3, **kwargs) -> str:\n    'Doc.'\n    return a": "1de6d1f884175cb09554a667141b769200c6c49f1e8c36a100b3703638371d2d",
    "f'{a!r:>{w}}b{c=} {{}}'.join(d)": "3ddb4fe807ca11c7a7d62e515139275691d304a6c79d2cf47041421c0b69c44e",
    "class C(B, metaclass=M):\n    x: int = 1\n    y: 'list[str]'\n    def m(self): return super().m()": "d85a8c6e66d834878a8777cd1fb7ac76e8566427d2cd80c829c7a7ae0f57e026",
    "match p:\n    case {'a': 1, **rest} | [1, *_] if q: pass\n    case C(x=0) as c: del c\n    case None: ...": "1acc27ff9f237668950b57ea9f97f08834667a0c29358131c97457e7a7c7d2d5",
    "async def g():\n    async with a as b, c:\n        async for i in b: yield await i": "250b897c7f16c5e90b61ef70eb0971fa5fc9afcf4cccd3023c4e4fdbb6c84adb",
    "try:\n    pass\nexcept* (A, B) as e:\n    raise X from e\nelse:\n    return 1.5e300\nfinally:\n    y = -1": "683b89b73d0187f3b5e7fa94281eed01cd55e1011d55f6191f2b2eccc807bfc9",
    "[(i, j) async for i in x if i for j in i if not j]; {k: v for k, v in y}; {*a, *b}; (z for z in z)": "43f653c1ed20bd707b9766b92f5be63e5f52c2a0c8fb526880bc6844b9fd3e37",
    "x[1:2, ..., None] = y = lambda *, k=b'\\0': (yield)\nprint(*a, **b, sep='\\ud800')": "cf267df5ca17ab2b20e43d79680070c42e355a92d158d37559fef0b731dabdc0",
    "while (n := n - 1) >= 0x_ff:\n    if a < b <= c is not d: continue\n    else: break\nelse: n @= 1_0j": "327bbddd1d115023f3456298a9c37621d51be22ee44b93630d49cf429b2918a6",
    "from a.b import (c as d, e)\nimport f.g, h as i\nfrom . import *\nglobal n; nonlocal_ = True; assert n, 'm'": "39527cd3d37a79490df797b3e245a53d7f3bda5cb90fce789eef25492f65b33e",
    "with open(a) as b, c as (d, *e): x, *y = 1, 2, 3\ndef t(): return [*x], {**y}, x if y else z, x and y or not z": "2b80685206bd87332d0f287dcf52b5007009ab2b27ead04a93a3cc52abc77c5e",
}


@pytest.mark.parametrize("source", GOLDEN)
def test_digests_are_those_of_every_version(source):
    assert shape(source) == GOLDEN[source]


EQUAL = [
    ("x = 1", "x=(1)  # one"),
    ("x = 'a'", 'x = "a"'),
    ("x = 'ab'", "x = 'a' 'b'"),
    ("x = 'ab'", "x = f'ab'"),
    ("x = 'ab'", "x = u'ab'"),
    ("x = ''", "x = f''"),
    ("x = f'{a}b'", "x = f'{a}' 'b'"),
    ("x = f'a{b}c{d}'", "x = 'a' f'{b}' f'c' f'' f'{d}'"),
    ("x = '{a}b'", "x = f'{{a}}b'"),
    ("x = 1000", "x = 1_000"),
    ("x = 255", "x = 0xFF"),
    ("x = 1", "x: int = 1"),
    ("x = 1", "x: int\nx = 1"),
    ("def f(x): return x", "def f(x: int) -> int:\n    'Doc.'\n    return x"),
    ("def f(x): pass", "def f(x):\n    'Doc.'"),
    ("def f(x): pass", "def f(x): ..."),
    ("def f[T](x: T): return x", "def f(x): return x"),
    ("class C: x: int", "class C:\n    'Doc.'\n    x: 'int'"),
    ("class C:\n    def m(self, x: int): pass", "class C:\n    def m(self, x): pass"),
    ("f(a, b)", "f(\n    a,\n    b,\n)"),
    ("if a: b()", "if (a):\n    b()"),
    ("a(); b()", "a()\nb()"),
    ("with a as b: c()", "with (a as b): c()"),
    ("x = a[b, c]", "x = a[(b, c)]"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_programs_have_equal_text(one, other):
    try:
        assert shape(one) == shape(other)
    except SyntaxError:
        assert "def f[T]" in one  # Newer than this Python.


DIFFERENT = [
    ["x = 1", "x = 1.0", "x = True", "x = '1'", "x = b'1'", "x = 1j", "x = None", "x = ...", "x = -1", "x = (1,)"],
    ["x = 0.0", "x = -0.0", "x = 0", "x = False", "x = ''", "x = b''", "x = ()", "x = []", "x = {}"],
    ["x = 1", "y = 1", "x += 1", "x == 1", "x: int", "x[0] = 1", "x.y = 1", "(x := 1)", "x, = 1"],
    ["f(a, b)", "f(b, a)", "f(a)(b)", "f((a, b))", "f(*a, b)", "f(a, b=b)", "f(a, **b)", "f(a=a, b=b)", "f(b=b, a=a)"],
    ["def f(a, b): pass", "def f(a, *, b): pass", "def f(a, /, b): pass", "def f(a, *b): pass", "def f(a, **b): pass"],
    ["def f(a=1, b=2): pass", "def f(a=1, *, b=2): pass", "def f(a, b=2): pass", "def f(b=1, a=2): pass"],
    ["def f(*, a, b=1): pass", "def f(*, a=1, b): pass", "def f(*, a=1, b=None): pass"],
    [
        "def f(): a",
        "async def f(): a",
        "def f(): return a",
        "def f(): yield a",
        "def g(): a",
        "class f: a",
        "lambda: a",
    ],
    ["x = f'{a}b'", "x = f'{a}' + 'b'", "x = f'{a!r}b'", "x = f'{a:b}'", "x = f'{b}a'", "x = '{a}b'"],
    [
        "class C: x: int",
        "class C: x: float",
        "class C: x: int = 0",
        "class C: y: int",
        "class C(B): x: int",
        "class C: x",
    ],
    ["[a for a in b]", "{a for a in b}", "(a for a in b)", "[a for b in a]", "[a for a in b if a]", "[b for a in b]"],
    ["a and b or c", "a and (b or c)", "a or b and c", "a + b - c", "a + (b - c)", "not a", "~a", "a if b else c"],
    ["a < b < c", "a < b and b < c", "a < b <= c", "(a < b) < c"],
    ["x[1:2]", "x[1::2]", "x[:1:2]", "x[1, 2]", "x[1]", "x[1:]", "x[:1]", "x[:]"],
    ["if a: b()\nelse: c()", "if a: c()\nelse: b()", "if a: b()\nc()", "if a:\n    b()\n    c()"],
    ["try: a()\nexcept E: b()", "try: a()\nexcept: b()", "try: a()\nfinally: b()", "try: a()\nexcept E as e: b()"],
    ["import a", "import b", "import a as b", "from a import b", "from b import a", "from .a import b", "import a.b"],
    ["match x:\n case 1: a", "match x:\n case y: a", "match x:\n case 1 if y: a", "match x:\n case [1]: a"],
    ["x = {'a': 1, **b}", "x = {**b, 'a': 1}", "x = {'a': 1, 'b': b}", "x = {'a', 1}"],
    ["for a in b: c()", "while a: c()", "for b in a: c()", "for a in b: c()\nelse: d()", "for a, in b: c()"],
    ["def f():\n    global x\n    x = 1", "def f():\n    x = 1"],
    ["'\\ud800'", "x = '\\ud800'", "x = '\\\\ud800'", "x = '?'"],
]


@pytest.mark.parametrize("programs", DIFFERENT)
def test_other_programs_have_other_text(programs):
    assert len({shape(program) for program in programs}) == len(programs)
