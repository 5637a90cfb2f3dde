"""A real browser in front of the real viewer, and what the viewer says it has decoded."""

import shutil
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHROMIUM = shutil.which("chromium")

FLAGS = (
    "--no-sandbox",  # root may not start Chromium otherwise
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

PATIENCE_MS = 180_000
"""For a viewer of 10 MB on a machine that is busy otherwise; it takes 10 s on an idle one."""

SEGMENTS = "window.services?.segmentationService?.getSegmentations().length"

DRAWN = """() => {
  const service = window.services.segmentationService;
  const viewport = window.services.viewportGridService.getActiveViewportId();
  return service.getSegmentationRepresentations(viewport).length > 0;
}"""
"""True if the overlay is on in the viewport."""

DECODED = """() => {
  const { segmentationService, viewportGridService } = window.services;
  const viewport = viewportGridService.getActiveViewportId();
  return segmentationService.getSegmentations().map(segmentation => {
    const counts = {};
    for (const id of segmentation.representationData.Labelmap.imageIds) {
      for (const value of window.cornerstone.cache.getImage(id).voxelManager.getScalarData()) {
        counts[value] = (counts[value] || 0) + 1;
      }
    }
    return Object.values(segmentation.segments).map(({ segmentIndex, label }) => ({
      label,
      rgb: segmentationService
        .getSegmentColor(viewport, segmentation.segmentationId, segmentIndex).slice(0, 3),
      voxels: counts[segmentIndex],
      number: segmentIndex,
    }));
  });
}"""
"""Of each segmentation, each segment's name, colour, voxels and number."""

VOXELS = """() => {
  const [{ representationData }] = window.services.segmentationService.getSegmentations();
  return Object.fromEntries(representationData.Labelmap.imageIds.map(id => {
    const image = window.cornerstone.cache.getImage(id);
    const voxels = image.voxelManager.getScalarData();
    let text = '';
    for (let at = 0; at < voxels.length; at += 8192) {
      text += String.fromCharCode.apply(null, voxels.subarray(at, at + 8192));
    }
    return [image.referencedImageId.match(/instances\\/([0-9.]+)/)[1], btoa(text)];
  }));
}"""
"""Of the only segmentation, the instance that each of its images lies over, and its voxels."""

MORE_THAN = """([number, least]) => {
  const [{ representationData }] = window.services.segmentationService.getSegmentations();
  let count = 0;
  for (const id of representationData.Labelmap.imageIds) {
    for (const value of window.cornerstone.cache.getImage(id).voxelManager.getScalarData()) {
      count += value === number;
    }
  }
  return count > least;
}"""
"""Whether a segment of the only segmentation has more than so many voxels."""

SHOW = """number => {
  const { segmentationService, viewportGridService } = window.services;
  const [{ segmentationId }] = segmentationService.getSegmentations();
  const viewport = viewportGridService.getActiveViewportId();
  segmentationService.jumpToSegmentCenter(segmentationId, number, viewport);
}"""
"""Scroll to the middle of a segment."""

IMAGE = """() => {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const viewport = cornerstoneViewportService
    .getCornerstoneViewport(viewportGridService.getActiveViewportId());
  const [image] = viewport.getRenderer().getViewProps();
  const drawn = image.getMapper().getInputData().getPointData().getScalars().getData();
  const shown = viewport.getCurrentImageId();
  const wanted = window.cornerstone.cache.getImage(shown).getPixelData();
  return {
    instance: shown.match(/instances\\/([0-9.]+)/)[1],
    drawn: drawn.length === wanted.length && drawn.every((value, i) => value === wanted[i]),
  };
}"""
"""The viewport's current instance, and whether that is the image in its scene."""

MEASURED = """() => (window.services?.measurementService?.getMeasurements() ?? [])
  .filter(each => each.toolName === 'Bidirectional')
  .sort((a, b) => a.label.localeCompare(b.label, 'en', { numeric: true }))
  .map(each => ({
    label: each.label,
    instance: each.referencedImageId.match(/instances\\/([0-9.]+)/)[1],
    points: each.points.flatMap(point => Array.from(point)),
  }))"""
"""Name, instance and points (x, y, z in LPS) of each pair of diameters in the viewer's list."""

FETCHED = """async address => {
  const bytes = new Uint8Array(await (await fetch(address)).arrayBuffer());
  return btoa(Array.from(bytes.slice(0, 1000), each => String.fromCharCode(each)).join(''));
}"""
"""The first bytes of what an address of the viewer gives, in base64."""

LISTED = """() => Array.from(document.querySelectorAll("[data-cy='data-row-title']"))
  .filter(title => title.checkVisibility())
  .map(title => [title.textContent, getComputedStyle(title, '::after').content.slice(1, -1)])"""
"""Name and volume of each segment, as the panel shows them."""

IN_THE_WAY = """() => {
  const over = ['.shepherd-element', "[role='dialog']", "[role='alert']", '[data-sonner-toast]'];
  const words = ['INVESTIGATIONAL', 'Something went wrong'];
  return [
    ...over.filter(each => document.querySelector(each)),
    ...words.filter(each => document.body.innerText.includes(each)),
  ];
}"""
"""Tours, banners, dialogs and messages that lie over the images."""

LOSE = """() => {
  const { viewportGridService, cornerstoneViewportService } = window.services;
  const viewport = cornerstoneViewportService
    .getCornerstoneViewport(viewportGridService.getActiveViewportId());
  viewport.getRenderer().removeViewProp(viewport.getDefaultActor().actor);
}"""
"""Take the image out of the scene, as a viewport that is replaced while it loads does."""


@contextmanager
def browser_page(profile: Path) -> Iterator[Any]:
    """A page of a fresh headless Chromium; `profile` keeps what it stores."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            str(profile),
            executable_path=CHROMIUM,
            headless=True,
            args=list(FLAGS),
            viewport={"width": 1280, "height": 800},
        )
        browser.set_default_timeout(PATIENCE_MS)
        try:
            yield browser.pages[0]
        finally:
            browser.close()


def decoded_voxels(page: Any) -> dict[str, NDArray[np.uint8]]:
    """Voxels that the viewer decoded for each instance, row by row."""
    decoded = page.evaluate(VOXELS).items()
    return {uid: np.frombuffer(b64decode(voxels), np.uint8) for uid, voxels in decoded}


def open_result(page: Any, link: str) -> None:
    """Open a link to a SEG, and return once its overlay is on."""
    page.goto(link, wait_until="commit")
    page.wait_for_function(SEGMENTS)
    page.wait_for_function(DRAWN)
