"""Error Comment (0000,0902) of a peer, without the words that could name a patient.

Archives explain a refusal there, and some quote the patient's name, ID or birth date. Only words of
a fixed vocabulary, UIDs, tags and attribute names pass; everything else becomes "…".
"""

import re

from pydicom.datadict import dictionary_has_tag, tag_for_keyword

HIDDEN = "…"

LONGEST = 300
"""Characters of a comment that are repeated; the standard allows 64 (PS3.5 6.2, LO)."""

TOKEN = re.compile(
    r"\([0-9A-Fa-f]{4},\s?[0-9A-Fa-f]{4}\)"  # tag
    r"|\d+(?:\.\d+){4,}"  # UID
    r"|\w+(?:[-.']\w+)*"  # word or number
    r"|[^\w\s]|\s+"
)

PUNCTUATION = set("[]():;,.='\"-/<>!?")

WORDS = """
a about above access accept accepted accepts after again all allowed already also an and another
any archive as association at attempt attribute attributes be because been before being below but
by can cannot change changed class classes code command conflict conflicts constraint contains
content could create created data database dataset delete deleted deletion denied destination
detected device dicom different differ differs disabled disk does done duplicate element elements
empty encoding error errors exceeded exceeds exist existing exists expected expired failed failure
failures file files filled for format forbidden found from full had has have id identifier if
ignored image images in incoming inconsistent index instance instances insufficient internal into
invalid is issuer it its item items known level limit locked longer maintenance match matched
matches matching maximum memory merge message missing mismatch modality modified more must name
not no number object objects occurrence of off on one only operation or other out over overwrite
overwriting parse patient patients pending permission permitted pixel policy present previous
previously problem process processing protocol quota read reason receive received receiving
reconcile refuse refused refuses reject rejected rejection remote request requested required
resource resources restricted retry same sequence series service should size so sop space
specified status storage store stored storing structure studies study subsequent such support
supported syntax system tag temporarily temporary than that the there this timeout to too transfer
type uid unable unavailable unauthorized unexpected unknown unsupported until update updated user
validation value values version violation was were when which while will with within without would
write writing wrong yet
"""
"""Technical words that archives use, and none that is a name."""

VOCABULARY = frozenset(WORDS.split())


def safe_comment(comment: str) -> str:
    """Return a peer's comment with everything hidden that is not technical vocabulary."""
    tokens = TOKEN.findall(comment[:LONGEST])
    shown = "".join(token if _harmless(token) else HIDDEN for token in tokens)
    # The number of hidden words would tell how many parts a name has.
    shown = re.sub(rf"{HIDDEN}(?:[\s^.,=-]*{HIDDEN})+", HIDDEN, shown)
    return shown.strip() if re.search(r"[A-Za-z]", shown) else ""


def _harmless(token: str) -> bool:
    if token.isspace() or token in PUNCTUATION or token.lower() in VOCABULARY:
        return True
    # Five components at least: a date such as 1970.01.31 is no UID.
    if token.startswith("(") or re.fullmatch(r"\d+(\.\d+){4,}", token):
        return True
    tag = tag_for_keyword(token)  # such as StudyInstanceUID
    return tag is not None and dictionary_has_tag(tag)
