package hitratio

// judgement is what the figures were taken for.
const judgement = `On the chat, which is what edgecache is for, the filter does not pay: it loses hits at every size, up to three points, and
saves one offer in five. A hit that Redis has to answer costs about 62 µs, an offer about 7 µs ("L1 with room" less the row above it in
[latest](latest.md)). Of 1,000 lookups it saves 5 offers and adds 25 reads at 750 entries, 35 µs for 1,500; 33 offers for 4 reads at 375,
which is even. A user who comes back in a chat comes back soon, and is asked for once more before the filter lets him in.

It pays where keys come in loops and scans (loop, gli, multi1, 2_pools: more hits and a fifth of the offers), and in the race "L2 hit" of
[latest](latest.md), in which memory holds a hundredth of what is asked for at random and every offer is in vain. Neither is how
profiles are read.

A node that has room for its users never gets to the question: 256 MiB hold about 450,000 of them, and the filter acts only once memory
is full. The advice of these figures is to drop it, or to let it act only while fewer than half of the lookups are hits, which is
where loops and scans are and a chat is not.

Four counters an entry are no worse than ten: where ristretto has ten it is behind edgecache without the filter at small sizes of the chat.
`
