// What the theme leaves out for people who use a keyboard or a screen reader.
for (const block of document.querySelectorAll("pre, .cell_output, .table-wrapper, div.math")) {
  if (block.scrollWidth > block.clientWidth) block.tabIndex = 0; // the arrow keys scroll it
}
for (const caption of document.querySelectorAll('.caption[role="heading"]')) caption.ariaLevel = "2";
document.querySelector(".sidebar-drawer").ariaLabel = "Contents";
