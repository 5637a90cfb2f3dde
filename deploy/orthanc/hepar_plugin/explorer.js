// Orthanc Explorer is jQuery Mobile: a page is made once and shown many times.

function heparButton(page, level) {
  $(page).live('pagebeforecreate', function () {
    var button = $('<a>')
      .attr('data-role', 'button').attr('href', '#').attr('data-icon', 'star')
      .attr('data-theme', 'e').addClass('hepar-segment')
      .text('Segment liver')
      .click(function (event) {
        event.preventDefault();
        $.post('../hepar/' + level + '/' + $.mobile.pageData.uuid + '/segment', function (said) {
          var words = $.map(said, function (each) { return each; });
          $('.hepar-state', page).text(words.join('; '));
          heparShow();
        }, 'json');
      });
    $('<div>').addClass('hepar').append(button).append($('<div>').addClass('hepar-state'))
      .insertBefore($(page + '-delete').parent().parent());
  });
}

function heparShow() {
  clearTimeout(heparShow.next);
  var page = $('#study');
  if (!page.hasClass('ui-page-active')) { return; }
  $.getJSON('../hepar/studies/' + $.mobile.pageData.uuid, function (said) {
    var lines = $.map(said.series, heparLine);
    if (said.trouble) { lines.push($('<p>').text(said.trouble)); }
    $('.hepar-state', page).empty().append(lines);
    heparShow.next = setTimeout(heparShow, 2000);
  });
}

function heparLine(series) {
  var name = series.description || 'Series ' + (series.number || series.series);
  var line = $('<p>').css('overflow-wrap', 'anywhere').text(name + ': ');
  line.append($('<strong>').text(series.state));
  if (series.reason) { line.append(document.createTextNode(' (' + series.reason + ')')); }
  var volumes = $.map(series.millilitres, function (ml, label) { return label + ' ' + ml.toFixed(1) + ' ml'; });
  if (volumes.length) { line.append(document.createTextNode(', ' + volumes.join(', '))); }
  if (series.review.length) {
    line.append(document.createTextNode('; please review: ' + series.review.join('; ')));
  }
  if (series.viewer) {
    line.append(' ').append($('<a>').attr('href', series.viewer).attr('target', '_blank').text('view'));
  }
  return line[0];
}

heparButton('#study', 'studies');
heparButton('#series', 'series');
$('#study').live('pageshow', heparShow);
