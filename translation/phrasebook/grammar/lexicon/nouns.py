"""Nouns: `English, plural | article French, plural | article German, plural`.

English and French plurals are listed where the rule would be wrong, German
ones where the plural differs from the singular. A star marks a weak German
noun, whose other cases have the form of the plural. The lines with `#` give
the kinds of the nouns below, a fourth column adds more; `usage.py` says which
kinds go with which words.
"""

from translation.phrasebook.grammar.lexicon.entries import read_noun, rows

PEOPLE = """
# person male
man, men | le homme | der Mann, Männer
boy | le garçon | der *Junge, Jungen | young
neighbour | le voisin | der *Nachbar, Nachbarn
tourist | le touriste | der *Tourist, Touristen
customer | le client | der *Kunde, Kunden
guest | le invité | der Gast, Gäste
king | le roi | der König, Könige
boss | le patron | der Chef, Chefs
# person male job
teacher | le professeur | der Lehrer
doctor | le médecin | der Arzt, Ärzte
baker | le boulanger | der Bäcker
farmer | le fermier | der *Bauer, Bauern
policeman, policemen | le policier | der *Polizist, Polizisten
student | le étudiant | der *Student, Studenten
waiter | le serveur | der Kellner
gardener | le jardinier | der Gärtner
singer | le chanteur | der Sänger
pilot | le pilote | der *Pilot, Piloten
engineer | le ingénieur | der Ingenieur, Ingenieure
lawyer | le avocat | der Anwalt, Anwälte
writer | le écrivain | der Schriftsteller
# person female
woman, women | la femme | die Frau, Frauen
lady | la dame | die Dame, Damen
queen | la reine | die Königin, Königinnen
nurse | la infirmière | die Krankenschwester, Krankenschwestern
# person neuter young
girl | la fille | das Mädchen
child, children | le enfant | das Kind, Kinder
# person male kin
father | le père | der Vater, Väter | elder
brother | le frère | der Bruder, Brüder
son | le fils | der Sohn, Söhne
grandfather | le grand-père, grands-pères | der Großvater, Großväter | elder
uncle | le oncle | der Onkel
husband | le mari | der Ehemann, Ehemänner | elder
# person female kin
mother | la mère | die Mutter, Mütter | elder
sister | la sœur | die Schwester, Schwestern
daughter | la fille | die Tochter, Töchter
grandmother | la grand-mère, grands-mères | die Großmutter, Großmütter | elder
aunt | la tante | die Tante, Tanten
# person kin several
parent | le parent | der Elternteil, Eltern
"""

ANIMALS = """
# animal
dog | le chien | der Hund, Hunde | pet runner
cat | le chat | die Katze, Katzen | pet
horse | le cheval | das Pferd, Pferde | runner farmed
bird | le oiseau | der Vogel, Vögel | pet flier
cow | la vache | die Kuh, Kühe | farmed
mouse, mice | la souris | die Maus, Mäuse
pig | le cochon | das Schwein, Schweine | farmed
duck | le canard | die Ente, Enten | farmed swimmer flier
rabbit | le lapin | das Kaninchen | pet runner
goat | la chèvre | die Ziege, Ziegen | farmed
elephant | le éléphant | der *Elefant, Elefanten | wild
monkey | le singe | der *Affe, Affen | wild
"""

FOOD = """
# food
egg | le œuf | das Ei, Eier
potato, potatoes
 | la pomme de terre, pommes de terre | die Kartoffel, Kartoffeln
onion | le oignon | die Zwiebel, Zwiebeln
carrot | la carotte | die Karotte, Karotten
bean | le haricot | die Bohne, Bohnen
biscuit | le biscuit | der Keks, Kekse | treat
cake | le gâteau | der Kuchen | treat dish
# food fruit
apple | la pomme | der Apfel, Äpfel
tomato, tomatoes | la tomate | die Tomate, Tomaten
orange | la orange | die Orange, Orangen
banana | la banane | die Banane, Bananen
pear | la poire | die Birne, Birnen
cherry | la cerise | die Kirsche, Kirschen
strawberry | la fraise | die Erdbeere, Erdbeeren
lemon | le citron | die Zitrone, Zitronen
# food mass
bread | le pain | das Brot
cheese | le fromage | der Käse
meat | la viande | das Fleisch | dish
rice | le riz | der Reis | dish
soup | la soupe | die Suppe | dish warm
butter | le beurre | die Butter
ham | le jambon | der Schinken
fish | le poisson | der Fisch | dish
salad | la salade | der Salat | dish
chocolate | le chocolat | die Schokolade | treat
honey | le miel | der Honig | treat
jam | la confiture | die Marmelade | treat
# grocery mass
sugar | le sucre | der Zucker
salt | le sel | das Salz
oil | la huile | das Öl
# drink mass
water | la eau | das Wasser
milk | le lait | die Milch
juice | le jus | der Saft
lemonade | la limonade | die Limonade
wine | le vin | der Wein
beer | la bière | das Bier
coffee | le café | der Kaffee | warm
tea | le thé | der Tee | warm
# vessel
cup | la tasse | die Tasse, Tassen
glass | le verre | das Glas, Gläser
bottle | la bouteille | die Flasche, Flaschen
# weight
kilo | le kilo | das Kilo
# coin
euro | le euro | der Euro
"""

THINGS = """
# clothes
shirt | la chemise | das Hemd, Hemden
coat | le manteau | der Mantel, Mäntel | warm
hat | le chapeau | der Hut, Hüte
dress | la robe | das Kleid, Kleider
skirt | la jupe | der Rock, Röcke
shoe | la chaussure | der Schuh, Schuhe | paired
jacket | la veste | die Jacke, Jacken | warm
scarf, scarves | la écharpe | der Schal, Schals | warm
glove | le gant | der Handschuh, Handschuhe | paired warm
jumper | le pull | der Pullover | warm
tie | la cravate | die Krawatte, Krawatten
# reading
book | le livre | das Buch, Bücher
newspaper | le journal | die Zeitung, Zeitungen
letter | la lettre | der Brief, Briefe | post
story | la histoire | die Geschichte, Geschichten | tale
poem | le poème | das Gedicht, Gedichte | tale
magazine | le magazine | die Zeitschrift, Zeitschriften
postcard | la carte postale, cartes postales | die Postkarte, Postkarten | post
# language
word | le mot | das Wort, Wörter
sentence | la phrase | der Satz, Sätze
question | la question | die Frage, Fragen
text | le texte | der Text, Texte
# thing
key | la clé | der Schlüssel | pocket
pen | le stylo | der Kugelschreiber | pocket
pencil | le crayon | der Bleistift, Bleistifte | pocket
watch | la montre | die Uhr, Uhren | pocket valuable
wallet | le portefeuille | der Geldbeutel | pocket
passport | le passeport | der Pass, Pässe | pocket
ticket | le billet | die Fahrkarte, Fahrkarten | pocket
bag | le sac | die Tasche, Taschen | luggage
suitcase | la valise | der Koffer | luggage
box | la boîte | die Schachtel, Schachteln | luggage
package | le colis | das Paket, Pakete | luggage post
umbrella | le parapluie | der Regenschirm, Regenschirme
phone | le téléphone | das Telefon, Telefone | machine valuable
camera
 | le appareil photo, appareils photo | die Kamera, Kameras | machine valuable
computer | le ordinateur | der Computer | machine valuable
lamp | la lampe | die Lampe, Lampen | machine
knife, knives | le couteau | das Messer | tableware
spoon | la cuillère | der Löffel | tableware
fork | la fourchette | die Gabel, Gabeln | tableware
plate | la assiette | der Teller | tableware
ball | le ballon | der Ball, Bälle | toy
doll | la poupée | die Puppe, Puppen | toy
gift | le cadeau | das Geschenk, Geschenke | present
guitar | la guitare | die Gitarre, Gitarren | valuable
picture | la image | das Bild, Bilder | view
photo | la photo | das Foto, Fotos | view
map | la carte | die Landkarte, Landkarten | view
# plant
flower | la fleur | die Blume, Blumen | present
tree | le arbre | der Baum, Bäume | tall
rose | la rose | die Rose, Rosen | present
# furniture
table | la table | der Tisch, Tische | top
chair | la chaise | der Stuhl, Stühle
bed | le lit | das Bett, Betten | top
cupboard | la armoire | der Schrank, Schränke
mirror | le miroir | der Spiegel
sofa | le canapé | das Sofa, Sofas | top
# part
door | la porte | die Tür, Türen
window | la fenêtre | das Fenster
wall | le mur | die Mauer, Mauern
# vehicle
car | la voiture | das Auto, Autos | driven
bicycle | le vélo | das Fahrrad, Fahrräder | mended
boat | le bateau | das Boot, Boote | mended
train | le train | der Zug, Züge | public rail
bus | le bus | der Bus, Busse | public driven rail
taxi | le taxi | das Taxi, Taxis | driven
plane | le avion | das Flugzeug, Flugzeuge | flier
lorry | le camion | der Lastwagen | driven
# money mass
money | le argent | das Geld
"""

PLACES = """
# place room
kitchen | la cuisine | die Küche, Küchen | home
bathroom | la salle de bains, salles de bains | das Badezimmer | home
bedroom | la chambre | das Schlafzimmer | home
living room | le salon | das Wohnzimmer | home
cellar | la cave | der Keller | home
garage | le garage | die Garage, Garagen | home
office | le bureau | das Büro, Büros | workplace
# place outdoors
garden | le jardin | der Garten, Gärten | home
balcony | le balcon | der Balkon, Balkone | home
park | le parc | der Park, Parks
forest | la forêt | der Wald, Wälder
street | la rue | die Straße, Straßen
square | la place | der Platz, Plätze
beach | la plage | der Strand, Strände | goal
# place building
house | la maison | das Haus, Häuser | home dwelling
castle | le château | das Schloss, Schlösser | sight dwelling
church | la église | die Kirche, Kirchen | sight
museum | le musée | das Museum, Museen | sight goal
theatre | le théâtre | das Theater | goal
cinema | le cinéma | das Kino, Kinos | goal
library | la bibliothèque | die Bibliothek, Bibliotheken | study goal
school | la école | die Schule, Schulen | study workplace goal
university
 | la université | die Universität, Universitäten | study workplace goal
hospital | le hôpital | das Krankenhaus, Krankenhäuser | workplace goal
factory | la usine | die Fabrik, Fabriken | workplace
bank | la banque | die Bank, Banken | workplace goal
pharmacy | la pharmacie | die Apotheke, Apotheken | workplace goal
hotel | le hôtel | das Hotel, Hotels | lodging eatery
restaurant | le restaurant | das Restaurant, Restaurants | eatery goal
swimming pool | la piscine | das Schwimmbad, Schwimmbäder | bath goal
# place store
market | le marché | der Markt, Märkte | goal
bakery | la boulangerie | die Bäckerei, Bäckereien | goal
supermarket | le supermarché | der Supermarkt, Supermärkte | goal
shop | le magasin | das Geschäft, Geschäfte
# place stop goal
station | la gare | der Bahnhof, Bahnhöfe
airport | le aéroport | der Flughafen, Flughäfen
# place region
city | la ville | die Stadt, Städte | dwelling sight
village | le village | das Dorf, Dörfer | dwelling
farm | la ferme | der Bauernhof, Bauernhöfe | dwelling workplace
island | la île | die Insel, Inseln | dwelling sight
# place bath open
lake | le lac | der See, Seen
river | la rivière | der Fluss, Flüsse
sea | la mer | das Meer, Meere
# landmark
mountain | la montagne | der Berg, Berge | tall
tower | la tour | der Turm, Türme | tall sight
bridge | le pont | die Brücke, Brücken
"""

IDEAS = """
# event
film | le film | der Film, Filme
concert | le concert | das Konzert, Konzerte | outing
match | le match, matchs | das Spiel, Spiele
party | la fête | das Fest, Feste | outing
meeting | la réunion | die Sitzung, Sitzungen
course | le cours | der Kurs, Kurse
# thought
problem | le problème | das Problem, Probleme
idea | la idée | die Idee, Ideen
exercise | le exercice | die Übung, Übungen
journey | le voyage | die Reise, Reisen
song | la chanson | das Lied, Lieder
recipe | la recette | das Rezept, Rezepte
# paper
contract | le contrat | der Vertrag, Verträge
bill | la facture | die Rechnung, Rechnungen
invitation | la invitation | die Einladung, Einladungen | post
# sound mass
music | la musique | die Musik
# tongue mass
French | le français | das Französisch
German | le allemand | das Deutsch
English | le anglais | das Englisch
Italian | le italien | das Italienisch
Spanish | le espagnol | das Spanisch
# sky unique
sun | le soleil | die Sonne, Sonnen
moon | la lune | der Mond, Monde
# star
star | la étoile | der Stern, Sterne
"""

NOUNS = {
    noun.english: noun
    for table in (PEOPLE, ANIMALS, FOOD, THINGS, PLACES, IDEAS)
    for noun in (read_noun(columns, kinds) for columns, kinds in rows(table))
}
