// A captcha that was solved, here or elsewhere, lets the visitor in.
setInterval(async () => {
  const state = await (await fetch('/captcha/state')).json()
  if (!state.blocked) location.reload()
}, 300)
