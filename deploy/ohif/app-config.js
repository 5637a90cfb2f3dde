/** OHIF with one source: the DICOMweb root on the same origin. */

/** Segments of this category hold organs; all others count as lesions. */
const ANATOMY = 'Anatomical Structure';

/** Return the images of a segmentation, in the order of the slices, each with its source's place. */
function imagesOf(segmentation) {
  const labelmap = segmentation.representationData && segmentation.representationData.Labelmap;
  const images = ((labelmap && labelmap.imageIds) || []).map(id => window.cornerstone.cache.getImage(id));
  return images
    .filter(Boolean)
    .map(image => ({ image, plane: planeOf(image.referencedImageId) }))
    .sort((a, b) => a.plane.along - b.plane.along);
}

/** Return where a slice lies along its normal, in mm, and the area of one of its pixels in mm². */
function planeOf(imageId) {
  const plane = window.cornerstone.metaData.get('imagePlaneModule', imageId);
  const [a, b, c] = plane.rowCosines;
  const [d, e, f] = plane.columnCosines;
  const normal = [b * f - c * e, c * d - a * f, a * e - b * d];
  const along = normal.reduce((sum, each, axis) => sum + each * plane.imagePositionPatient[axis], 0);
  return { along, pixel: plane.rowPixelSpacing * plane.columnPixelSpacing };
}

/** Return how many mm each slice stands for: half the way to its neighbours, as in Hepar's figures. */
function depths(images) {
  const last = images.length - 1;
  const gap = index => images[index + 1].plane.along - images[index].plane.along;
  return images.map((_, index) =>
    last === 0 ? 0 : (gap(Math.max(index - 1, 0)) + gap(Math.min(index, last - 1))) / 2
  );
}

/** Return of each segment its millilitres, and how many of its voxels each slice has. */
function measure(images) {
  const depth = depths(images);
  const found = {};
  images.forEach(({ image, plane }, slice) => {
    image.voxelManager.getScalarData().forEach(value => {
      if (value) {
        const segment = (found[value] = found[value] || { ml: 0, slices: images.map(() => 0) });
        segment.slices[slice] += 1;
        segment.ml += (plane.pixel * depth[slice]) / 1000;
      }
    });
  });
  return found;
}

/** Return how many voxels each slice has of the largest piece of a segment; pieces join by faces. */
function largestPiece(images, number) {
  const size = images[0].image.columns * images[0].image.rows;
  const voxels = new Set();
  images.forEach(({ image }, slice) =>
    image.voxelManager.getScalarData().forEach((value, pixel) => {
      if (value === number) {
        voxels.add(slice * size + pixel);
      }
    })
  );
  const { columns } = images[0].image;
  const beside = voxel => [
    voxel - size,
    voxel + size,
    voxel - columns,
    voxel + columns,
    ...(voxel % columns > 0 ? [voxel - 1] : []),
    ...(voxel % columns < columns - 1 ? [voxel + 1] : []),
  ];
  let largest = [];
  for (const seed of voxels) {
    voxels.delete(seed);
    const piece = [seed];
    for (let next = 0; next < piece.length; next++) {
      beside(piece[next]).forEach(voxel => voxels.delete(voxel) && piece.push(voxel));
    }
    largest = piece.length > largest.length ? piece : largest;
  }
  return largest.reduce(
    (slices, voxel) => {
      slices[Math.floor(voxel / size)] += 1;
      return slices;
    },
    images.map(() => 0)
  );
}

/** Return the slice with most of the largest lesion or, without lesions, of the largest organ. */
function firstSight(images, segments, measured) {
  const present = Object.keys(measured).filter(number => segments[number]);
  const isLesion = number => segments[number].cachedStats.category !== ANATOMY;
  const lesions = present.filter(isLesion);
  const [largest] = (lesions.length ? lesions : present).sort((a, b) => measured[b].ml - measured[a].ml);
  if (!largest) {
    return null;
  }
  const slices = lesions.length ? largestPiece(images, Number(largest)) : measured[largest].slices;
  return images[slices.indexOf(Math.max(...slices))].image.referencedImageId;
}

/** Write the millilitres of each segment behind its name in OHIF's panel, which has no place for them. */
function label({ segmentationService, viewportGridService }) {
  const shown = segmentationService.getActiveSegmentation(viewportGridService.getActiveViewportId());
  const segments = shown ? Object.values(shown.segments) : [];
  document.querySelectorAll("[data-cy='data-row-title']").forEach(title => {
    const segment = segments.find(each => each && each.label === title.textContent);
    const ml = segment && segment.cachedStats && segment.cachedStats.ml;
    // An attribute that a style shows: the text itself is React's.
    title.setAttribute('data-ml', ml === undefined ? '' : `${ml.toFixed(ml < 10 ? 1 : 0)} ml`);
  });
}

document.head.appendChild(document.createElement('style')).textContent =
  "[data-cy='data-row-title'][data-ml]::after { content: attr(data-ml); float: right; }";

/**
 * Let a viewport that is replaced scroll no more.
 *
 * OHIF 3.13.2 scrolls to a SEG's first slice in the viewport that it is about to replace; 40 ms later
 * that one is gone, and the page says that something went wrong.
 */
function endScrolling({ detail: { renderingEngineId, viewportId } }) {
  const engine = window.cornerstone.getRenderingEngine(renderingEngineId);
  const viewport = engine && engine.getViewport(viewportId);
  clearTimeout(viewport && viewport.debouncedTimeout);
}

/**
 * Open a segmentation that was saved as the archive has it.
 *
 * OHIF 3.13.2 goes on with its own copy, of which it shows the first slice's contours on every slice.
 */
function openSaved({ displaySetsAdded, options }) {
  const saved = displaySetsAdded.find(each => each.Modality === 'SEG' && each.instance);
  if (options && options.madeInClient && saved) {
    const address = new URL(window.location.href);
    address.searchParams.set('initialSeriesInstanceUID', saved.SeriesInstanceUID);
    window.location.assign(address);
  }
}

let labelling;

/** List millilitres with the segments, and open a SEG on the slice that a reader looks for first. */
const hepar = {
  id: 'hepar',
  onModeEnter({ servicesManager }) {
    const { segmentationService, displaySetService } = servicesManager.services;
    window.cornerstone.eventTarget.addEventListener('CORNERSTONE_ELEMENT_DISABLED', endScrolling);
    displaySetService.subscribe(displaySetService.EVENTS.DISPLAY_SETS_ADDED, openSaved);
    labelling = new MutationObserver(() => label(servicesManager.services));
    labelling.observe(document.body, { subtree: true, childList: true, characterData: true });
    const list = segmentationId => {
      const { segments, ...segmentation } = segmentationService.getSegmentation(segmentationId);
      const images = imagesOf(segmentation);
      const measured = measure(images);
      const listed = Object.entries(segments).map(([number, segment]) => {
        const ml = measured[number] ? measured[number].ml : 0;
        return [number, { ...segment, cachedStats: { ...segment.cachedStats, ml } }];
      });
      segmentationService.addOrUpdateSegmentation({
        segmentationId,
        segments: Object.fromEntries(listed),
      });
      return firstSight(images, segments, measured);
    };
    const { EVENTS } = segmentationService;
    // OHIF opens a SEG on `firstSegmentedSliceImageId` once this event is over: at the dome.
    segmentationService.subscribe(EVENTS.SEGMENTATION_ADDED, ({ segmentationId }) => {
      const displaySet = displaySetService.getDisplaySetByUID(segmentationId);
      const first = list(segmentationId);
      if (first && displaySet) {
        displaySet.firstSegmentedSliceImageId = first;
      }
    });
    let waiting;
    segmentationService.subscribe(EVENTS.SEGMENTATION_DATA_MODIFIED, ({ segmentationId }) => {
      clearTimeout(waiting); // a stroke of the brush is many events
      waiting = setTimeout(
        () => segmentationService.getSegmentation(segmentationId) && list(segmentationId),
        300
      );
    });
  },
  onModeExit() {
    labelling.disconnect();
  },
};

window.config = {
  name: 'hepar',
  routerBasename: '/',
  extensions: [hepar],
  modes: [],
  customizationService: {
    global: {
      'ohif.tours': { $set: [] },
    },
  },
  modesConfiguration: {
    '@ohif/mode-longitudinal': {
      activatePanelTriggers: {
        $set: [
          {
            panelId: '@ohif/extension-cornerstone.panelModule.panelSegmentation',
            sourceServiceName: 'segmentationService',
            sourceEvents: ['SEGMENTATION_ADDED'],
            forceActive: true,
          },
        ],
      },
    },
  },
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  // Otherwise OHIF asks before it loads a SEG, and a link would not show one.
  disableConfirmationPrompts: true,
  investigationalUseDialog: { option: 'never' },
  defaultDataSourceName: 'archive',
  dataSources: [
    {
      namespace: '@ohif/extension-default.dataSourcesModule.dicomweb',
      sourceName: 'archive',
      configuration: {
        friendlyName: 'Archive',
        name: 'archive',
        wadoUriRoot: '/dicom-web',
        qidoRoot: '/dicom-web',
        wadoRoot: '/dicom-web',
        qidoSupportsIncludeField: true,
        imageRendering: 'wadors',
        // Orthanc answers 404 to /thumbnail.
        thumbnailRendering: 'wadors',
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        staticWado: false,
        singlepart: 'bulkdata,video',
        bulkDataURI: { enabled: true },
        omitQuotationForMultipartRequest: true,
      },
    },
  ],
};

/**
 * Let a stack draw the image that it has scrolled to.
 *
 * OHIF 3.13.2 replaces the viewport of a SEG as soon as the SEG is read. If the old viewport was
 * still loading its first image, that image lands in the new viewport's scene in place of its own:
 * from then on scrolling moves the overlay and not the CT. The two know one another by their id only.
 */
document.addEventListener(
  'CORNERSTONE_IMAGE_RENDERED',
  ({ detail: { renderingEngineId, viewportId } }) => {
    const engine = window.cornerstone && window.cornerstone.getRenderingEngine(renderingEngineId);
    const viewport = engine && engine.getViewport(viewportId);
    const entry = viewport && viewport.type === 'stack' && viewport.getDefaultActor();
    const own = entry && entry.actor;
    const scene = viewport && viewport.getRenderer && viewport.getRenderer();
    if (!own || !scene || scene.getViewProps().includes(own)) {
      return;
    }
    const drawn = viewport.getActors().map(each => each.actor);
    const strange = scene.getViewProps().filter(each => !drawn.includes(each));
    strange.forEach(each => scene.removeViewProp(each));
    drawn.forEach(each => scene.removeViewProp(each));
    drawn.forEach(each => scene.addActor(each)); // the image first, overlays on top of it
    viewport.render();
  },
  true // it does not bubble
);
