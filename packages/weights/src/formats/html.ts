/**
 * Whether bytes begin as an HTML page does. Servers of single-page applications send their page, with status 200, for every address
 * that they do not know.
 */
export const isHtml = (bytes: Uint8Array): boolean =>
  /^\s*<(!doctype\s+html|html|head|!--)/i.test(new TextDecoder().decode(bytes.subarray(0, 200)));
