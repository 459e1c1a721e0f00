// What pages do beyond htmx. All of it can be done without.
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copies]");
  if (!button) return;
  navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent).then(() => {
    const label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = label; }, 2000);
  });
});
// A live list keeps its newest rows; what leads further back and what stops it follow the rows that are there.
const live = document.querySelector("tbody[data-most]");
if (live) {
  const lead = (link, time) => {
    if (!link || !time) return;
    const url = new URL(link.href);
    url.searchParams.set("before", time);
    link.href = url;
  };
  new MutationObserver(() => {
    while (live.rows.length > live.dataset.most) live.rows[live.rows.length - 1].remove();
    if (!live.rows.length) return;
    lead(document.querySelector("a[data-pauses]"), live.rows[0].dataset.until);
    lead(document.querySelector("a[data-older]"), live.rows[live.rows.length - 1].dataset.at);
  }).observe(live, { childList: true });
}

// On a phone the navigation is wider than the screen: show where we are. scrollIntoView would have the keyboard start there.
for (const here of document.querySelectorAll("nav [aria-current]")) {
  const nav = here.closest("nav");
  nav.scrollLeft += here.getBoundingClientRect().left - nav.getBoundingClientRect().left - (nav.clientWidth - here.offsetWidth) / 2;
}
