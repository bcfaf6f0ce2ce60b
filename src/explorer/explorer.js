// Extends Orthanc Explorer, Orthanc's own web interface (jQuery Mobile): on the page of a study, where its files are,
// and buttons to move them. Runs in browsers, in the page's global scope beside scripts of other plugins, hence the
// function around everything. URLs are relative, as Explorer's own are: Orthanc may be below any path of a reverse
// proxy. Requests go through jQuery, because Explorer gives it the authorization token of the page's URL. ASCII only:
// no charset is sent.
;(() => {
  const { $ } = window
  const POLL_MS = 1000
  /** A server that restarts comes back, and its jobs with it. */
  const MOST_UNANSWERED = 30
  const SHOWN_REASONS = 3

  const targets = {
    'object-storage': {
      title: 'Move to object storage',
      icon: 'arrow-u',
      from: 'file-system',
      to: 'to object storage',
    },
    'file-system': {
      title: 'Move back to disk',
      icon: 'arrow-d',
      from: 'object-storage',
      to: "to this server's disk",
    },
  }

  /** Counts page views. An answer for an earlier view is not shown. */
  let view = 0

  const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))

  function request(method, url, body) {
    const data = body && JSON.stringify(body)
    return new Promise((resolve, reject) => {
      $.ajax({ type: method, url, data, dataType: 'json', cache: method !== 'GET', success: resolve, error: reject })
    })
  }

  /** Why a request failed, for people. */
  function reasonOf(failed) {
    if (failed.status === 0) return 'the server does not answer'
    if (failed.status === 401 || failed.status === 403) return 'you have no permission'
    try {
      const { Details, Message } = JSON.parse(failed.responseText)
      return Details || Message
    } catch {
      return `HTTP ${failed.status}`
    }
  }

  const filesIn = count => (count === 1 ? '1 file' : `${count} files`)

  function sizeOf(bytes) {
    const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
    let value = bytes
    let unit = 0
    // 999.95 would be shown as 1000.0
    for (; value >= 999.95 && unit < units.length - 1; unit++) value /= 1000
    return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
  }

  /** One sentence per place, with the name that the object store has in Orthanc's log. */
  function sentencesOf({ Totals, Attachments }) {
    const place = Attachments.flatMap(({ Places }) => Places).find(({ Tier }) => Tier === 'object-storage')
    const names = { 'file-system': "on this server's disk", 'object-storage': `in ${place?.Store}` }
    return Object.keys(names)
      .filter(tier => Totals[tier]?.Files > 0)
      .map(tier => `${filesIn(Totals[tier].Files)}, ${sizeOf(Totals[tier].Bytes)} ${names[tier]}`)
  }

  /** The section of the page, empty: below Explorer's own, in its style. It stays once made: the page must not jump. */
  function emptySection() {
    const section = $('#cloud-storage')
    section.children().not(':first').remove()
    if (section.length > 0) return section
    return $('<ul id="cloud-storage" data-role="listview" data-inset="true" data-theme="d" data-divider-theme="c">')
      .append($('<li data-role="list-divider">').text('Storage'))
      .insertAfter('#study-access')
      .listview()
  }

  /** jQuery Mobile cuts off long lines in lists. These wrap. */
  const line = (text, kind = 'where') =>
    $('<p>')
      .addClass(`cloud-storage-${kind}`)
      .css({ whiteSpace: 'normal', overflowWrap: 'anywhere', fontSize: '13px', margin: '.4em 0' })
      .text(text)

  const alarm = text => line(text, 'problem').css({ color: '#b00020', fontWeight: 'bold' })

  function show(contents, buttons = []) {
    const item = $('<li role="status" aria-live="polite">').append(...contents)
    emptySection()
      .append(item, ...buttons)
      .listview('refresh')
  }

  function buttonOf(target, press) {
    const { title, icon } = targets[target]
    const link = $('<a href="#">').attr('id', `cloud-storage-to-${target}`).text(title)
    link.on('click', event => {
      event.preventDefault()
      press()
    })
    return $('<li>').attr('data-icon', icon).append(link)
  }

  /** Looks where the study is, and shows it below `news`. */
  async function refresh(study, news = []) {
    const mine = ++view
    show([...news, line('Looking where the files are ...', 'wait')])
    try {
      const [where, status, jobs] = await Promise.all([
        request('GET', `../studies/${study}/cloud-storage`),
        request('GET', '../cloud-storage/status'),
        request('GET', '../jobs?expand').catch(() => []),
      ])
      if (mine !== view) return
      const moving = jobs.find(job => isMoveOf(study, job))
      if (moving) await follow(study, moving.ID, where, mine)
      else showWhere(study, where, status, news)
    } catch (failed) {
      if (mine === view) show([...news, alarm(`Where the files are is not known: ${reasonOf(failed)}.`)])
    }
  }

  /** Also a move that was started elsewhere, or before this page was loaded. */
  const isMoveOf = (study, { Type, State, Content }) =>
    Type === 'MoveStorage' && !isOver(State) && !Content.DryRun && Content.Studies?.includes(study)

  const isOver = state => state === 'Success' || state === 'Failure'

  function showWhere(study, where, { HybridMode, Reachable }, news) {
    const { Missing } = where.Totals
    const contents = [...news, ...sentencesOf(where).map(sentence => line(sentence))]
    if (Missing > 0) contents.push(alarm(`${filesIn(Missing)} missing: in none of the places`))
    if (!Reachable) contents.push(alarm('The object storage cannot be reached now.'))
    const sensible = Object.keys(targets).filter(target => where.Totals[targets[target].from]?.Files > 0)
    const offered = HybridMode === 'Disabled' ? [] : sensible
    show(
      contents,
      offered.map(target => buttonOf(target, () => move(study, target, where))),
    )
  }

  async function move(study, target, where) {
    const mine = ++view
    show([line('Starting ...', 'wait')])
    try {
      const body = { Resources: [study], TargetStorage: target, Asynchronous: true }
      const { ID } = await request('POST', '../move-storage', body)
      if (mine === view) await follow(study, ID, where, mine)
    } catch (failed) {
      if (mine === view) await refresh(study, [alarm(`Nothing was moved: ${reasonOf(failed)}.`)])
    }
  }

  /** Shows the progress of a job until it ends or another page is shown. The job itself needs no page. */
  async function follow(study, id, where, mine) {
    const bar = $('<progress max="100">').css({ width: '100%', height: '1.2em' })
    const text = line('', 'progress')
    show([text, bar])
    for (let unanswered = 0; mine === view; await sleep(POLL_MS)) {
      try {
        const job = await request('GET', `../jobs/${id}`)
        unanswered = 0
        if (mine !== view) return
        if (isOver(job.State)) return await refresh(study, endOf(job))
        const { words, percent } = progressOf(job, where.Attachments.length)
        text.text(words)
        bar.val(percent)
      } catch (failed) {
        // Orthanc keeps only JobsHistorySize jobs. How this one ended is not known, but where the files are is known.
        if (failed.status === 404) return await refresh(study)
        if (++unanswered > MOST_UNANSWERED) return await refresh(study)
      }
    }
  }

  function progressOf({ State, Content, Progress }, total) {
    const { to } = targets[Content.TargetStorage]
    const { WaitsFor: other } = Content
    if (other) return { words: `Waiting: another Orthanc, on ${other.Host}, moves files now`, percent: Progress }
    const doing = { Running: `Moving ${to}`, Paused: `Paused on the way ${to}` }[State] ?? `Waiting to move ${to}`
    const named = ['Patients', 'Studies', 'Series', 'Instances'].flatMap(level => Content[level] ?? [])
    if (named.length > 1) return { words: `${doing}, with others: ${Progress} %`, percent: Progress }
    // Exact. The job's own progress is a guess, because it does not know the files that it has not yet seen.
    const done = Content.Moved.Files + Content.AlreadyThere.Files + Content.Failed
    return { words: `${doing}: ${done} of ${filesIn(total)}`, percent: total > 0 ? (100 * done) / total : 100 }
  }

  /** What to show of a job that ended. */
  function endOf({ ID, State, Content, ErrorDescription }) {
    const { Moved, AlreadyThere, Failed, Failures, Refusal, TargetStorage } = Content
    const { to } = targets[TargetStorage]
    const moved = `${filesIn(Moved.Files)} moved ${to}${AlreadyThere.Files ? `, ${AlreadyThere.Files} already there` : ''}.`
    if (State === 'Success') return [line(`Done: ${moved}`, 'done').css({ color: '#1b6e1b', fontWeight: 'bold' })]
    const link = $('<a>').attr('href', `#job?uuid=${ID}`).text('All about this job')
    if (Refusal) {
      const done = Moved.Files === 0 ? [alarm('Nothing was moved.')] : [alarm('The move has ended early.'), line(moved)]
      return [...done, line(Refusal, 'reason'), line('').append(link)]
    }
    if (Failed === 0)
      return [alarm(`The move has ended early: ${ErrorDescription}.`), line(moved), line('').append(link)]
    // One of each kind: most reasons differ only in the name of their file.
    const kinds = new Map(Failures.map(({ Reason, Uuid }) => [Reason.replace(Uuid, ''), Reason]))
    const reasons = [...kinds.values()].slice(0, SHOWN_REASONS)
    return [
      alarm(`${filesIn(Failed)} could not be moved ${to}.`),
      ...reasons.map(reason => line(reason, 'reason')),
      line(moved),
      line('').append(link),
    ]
  }

  $(document)
    .delegate('#study', 'pagebeforeshow', () => {
      // Absent when the page is opened without a study. Explorer itself does nothing then.
      const study = $.mobile.pageData?.uuid
      if (study) void refresh(study)
    })
    .delegate('#study', 'pagebeforehide', () => {
      view++
    })
})()
