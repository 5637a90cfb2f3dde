/** OHIF with one source: the DICOMweb root on the same origin. */
window.config = {
  name: 'hepar',
  routerBasename: '/',
  extensions: [],
  modes: [],
  customizationService: {},
  showStudyList: true,
  maxNumberOfWebWorkers: 3,
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  // Otherwise OHIF asks before it loads a SEG, and a link would not show one.
  disableConfirmationPrompts: true,
  investigationalUseDialog: { option: 'always' },
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
