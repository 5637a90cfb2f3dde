"""Corrections: results as people changed them, and the agreement of the model with them.

    SEG by a person  ->  masks on the grid of the kept labels  ->  Correction  ->  register

`KeptLabels` is what a result leaves behind once its files are removed: labels, grid, scanner and
model, without the patient. A `Correction` is one SEG by a person with the Dice of the result that
it corrects; the newest of each result counts. `AgreementRow` sums up a month of one scanner, and
`Fall` is a structure whose newest figures lie below those before.
"""
