/** Who has WebGPU, in words for those whose browser has not. */
export const whereWebGpuIs =
  "Chrome and Edge have it, Safari from 26 on, and Firefox on Windows and on Macs with Apple chips. " +
  "It also needs a secure address: https, or localhost.";
