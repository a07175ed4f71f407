// The check before the page: after a while it sets a cookie and loads the page again.
function finish() {
  document.cookie = `CHECK=${check.token}; path=/; SameSite=Lax`
  const here = new URL(location.href)
  here.searchParams.set('sei', check.token)
  location.replace(here)
}
if (check.seconds !== null) setTimeout(finish, 1000 * check.seconds)
