"""The package, its pages and README use the words of the glossary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / 'docs' / 'developer' / 'glossary.md'
FOLDERS = ('aiida_mghdiff', 'docs', 'examples')
SUFFIXES = ('.py', '.md', '.yaml', '.html', '.js', '.sh')


def tables():
    """Return the rows of each table of the page as lists of cells, without the headers."""
    tables = re.findall(r'(?:^\|.*\n)+', GLOSSARY.read_text(), re.MULTILINE)
    return [[re.split(r' *\| *', row.strip('| ')) for row in table.splitlines()[2:]] for table in tables]


def quoted(cell):
    """Return the words in backticks."""
    return re.findall(r'`([^`]+)`', cell)


WORDS, KEYS, EXCEPTIONS = tables()
FORBIDDEN = [word for row in WORDS for word in quoted(row[2] if len(row) > 2 else '')]
ENDINGS = [word for row in KEYS for word in quoted(row[1])]


def sources():
    """Return the texts to be checked, by path from the root; without files that docs/generate.py makes."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*') if path.suffix in SUFFIXES]
    kept = [path for path in [*paths, ROOT / 'README.md'] if path != GLOSSARY and '_build' not in path.parts]
    return {str(path.relative_to(ROOT)): path.read_text() for path in kept}


def found(pattern, texts):
    """Return the places of a pattern."""
    return [
        f'{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}'
        for name, text in texts.items()
        for match in re.finditer(pattern, text)
    ]


def pattern_of(word):
    """Return the pattern of a word or of the end of a key; words may break over lines and begin sentences."""
    if word in ENDINGS:
        return rf'{re.escape(word)}(?![A-Za-z])'
    words = r'\s+'.join(map(re.escape, word[1:].split()))
    return rf'(?<![\w-])[{word[0].upper()}{word[0].lower()}]{words}(?![\w-])'


@pytest.fixture(scope='module')
def texts():
    """Return the texts."""
    return sources()


@pytest.mark.parametrize('word', FORBIDDEN + ENDINGS)
def test_words(texts, word):
    allowed = {quoted(row[1])[0] for row in EXCEPTIONS if quoted(row[0])[0] == word}
    places = found(pattern_of(word), {name: text for name, text in texts.items() if name not in allowed})
    assert not places, f'docs/developer/glossary.md has another word for {word!r}'


def test_exceptions_are_needed(texts):
    for word, file, _ in EXCEPTIONS:
        assert found(pattern_of(quoted(word)[0]), {'': texts[quoted(file)[0]]}), f'{word} is not in {file}'


def test_finds_words():
    """Only whole words count; a part of a key counts at its end or before another part."""
    assert found(pattern_of('distil'), {'a': 'x\nto distil it', 'b': 'distillation, un-distil'}) == ['a:2: distil']
    assert found(pattern_of('data set'), {'a': 'Data\nset'}) == ['a:1: Data\nset']
    assert found(pattern_of('_nm'), {'a': 'length_nm = 1', 'b': 'length_nmax'}) == ['a:1: _nm']
