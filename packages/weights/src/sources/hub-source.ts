/** A model of the Hugging Face Hub. */
export interface HubSource {
  /** Its id: 'owner/name'. */
  hub: string;
  /** Branch, tag or commit, 'main' unless given. A commit pins the files, and needs no network once they are in the cache. */
  revision?: string;
  /** One file of it, like 'checkpoints/sam_vit_b.pth'; its safetensors and config unless given. */
  file?: string;
  /** Access token; the environment's HF_TOKEN unless given. */
  token?: string;
  /** Address of a mirror; the environment's HF_ENDPOINT unless given. */
  hubUrl?: string;
}

/** Whether a string that is no path can be an id: one '/', and not the ending of a checkpoint's file. */
export function isHubId(text: string): boolean {
  return /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*$/.test(text) && !/\.(safetensors|pth?|bin|ckpt)$/.test(text);
}
