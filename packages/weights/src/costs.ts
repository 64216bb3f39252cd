/** One attention layer: softmax(Q K') V over `windows` groups of `tokens`. */
export interface Attention {
  /** The weight whose axis 0 is 3 * heads * head width. */
  qkv: string;
  windows: number;
  /** Tokens in each window, padding included. */
  tokens: number;
}

/** What a model does with its weights for one image; with the weights' shapes this gives its multiply-adds. */
export interface Costs {
  /** Weight name -> positions at which the matrix or kernel is applied. */
  applications: Readonly<Record<string, number>>;
  attention: readonly Attention[];
}
