"""INCAR tags that VASP knows. VASP ignores unknown tags silently, so a misspelt tag would change a run unnoticed.

Only tags that differ in one letter from a known tag are refused, because aiida-vasp's list lacks tags of new versions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from importlib import resources

#: Tags of force fields and of VTST that the list of aiida-vasp lacks.
_MORE = """
ml_ab ml_afilt2 ml_calgo ml_cdoub ml_csf ml_csig ml_cslope ml_ctifor ml_cx ml_desc_type ml_eatom_ref ml_eps_low
ml_eps_reg ml_estblock ml_iafilt2 ml_ialgo_linreg ml_icouple ml_icriteria ml_ierr ml_inverse_soap ml_iscale_toten
ml_istart ml_iweight ml_lafilt2 ml_lbasis_discard ml_lcouple ml_leatom ml_lfast ml_lheat ml_lib ml_lmax2 ml_lmlff
ml_lsparsdes ml_ltrj ml_luse_names ml_mb ml_mconf ml_mconf_new ml_mhis ml_mode ml_mrb1 ml_mrb2 ml_natom_coupled ml_nhyp
ml_nmdint ml_nrank_sparsdes ml_outblock ml_output_mode ml_rcouple ml_rcut1 ml_rcut2 ml_rdes_sparsdes ml_sigv0 ml_sigw0
ml_sion1 ml_sion2 ml_w1 ml_w2 ml_wtifor ml_wtoten ml_wtsif
ddr ddiag dfnmax dfnmin dneborg drotmax ichain ispind jacobian ldneb lclimb lnebcell ltangentold maxmove
nebcell_iter sdr snl
"""


@functools.cache
def known_tags() -> frozenset[str]:
    """Return the tags, in lower case."""
    text = resources.files('aiida_vasp.assistant').joinpath('parameters.yml').read_text(encoding='utf-8')
    return frozenset(re.findall(r'^([a-z]\w*):', text, re.MULTILINE)) | frozenset(_MORE.split())


def misspelt_message(tags: Iterable[str], where: str) -> str | None:
    """Return a message with a tag that differs in one letter from a known tag, or None."""
    for tag in sorted(set(tags) - known_tags()):
        if near := sorted(known for known in known_tags() if _is_near(tag, known)):
            return f'{where}: VASP knows no tag {tag}, and would ignore it: did you mean {" or ".join(near)}?'
    return None


def _is_near(word: str, other: str) -> bool:
    """Return whether two words differ in one letter: replaced, added, or two letters exchanged."""
    if len(word) == len(other):
        places = [place for place, letters in enumerate(zip(word, other, strict=True)) if len(set(letters)) == 2]
        swapped = len(places) == 2 and word[places[0] : places[1] + 1] == other[places[0] : places[1] + 1][::-1]
        return len(places) == 1 or (swapped and places[1] - places[0] == 1)
    short, long = sorted((word, other), key=len)
    return any(long[:place] + long[place + 1 :] == short for place in range(len(long)))
