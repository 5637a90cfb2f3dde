"""Codes of reports: one table for the writer, the reader and the documentation."""

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from engine.findings.quality import Concern, Statement

SCHEME = "99HEPAR"
"""Coding scheme of concepts that no standard has a code for."""

VOLUME = codes.SCT.Volume
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
"""OHIF 3.13 finds the two by their meanings in exactly these capitals."""
COMMENT = codes.DCM.Comment
DENSITY = codes.DCM.AttenuationCoefficient
LESIONS = Code("246206008", "SCT", "Number of lesions")
TUMOUR_VOLUME = Code("tumour-volume", SCHEME, "Volume of all tumours in the liver")
BURDEN = Code("tumour-burden", SCHEME, "Part of the liver that is tumour")

MEAN = codes.SCT.Mean
DEVIATION = codes.SCT.StandardDeviation

MILLILITRE = Code("ml", "UCUM", "milliliter")
MILLIMETRE = codes.UCUM.Millimeter
HOUNSFIELD = codes.UCUM.HounsfieldUnit
PERCENT = codes.UCUM.Percent
COUNT = codes.UCUM.NoUnits

QUALITY = codes.DCM.QualityAssessment
CONCERN = codes.DCM.QualityFinding

STATEMENTS = {each: Code(each.value, SCHEME, each.value.capitalize()) for each in Statement}
CONCERNS = {
    each: Code(each.name.lower().replace("_", "-"), SCHEME, each.value.capitalize())
    for each in Concern
}
"""Codes for the quality of a result."""
